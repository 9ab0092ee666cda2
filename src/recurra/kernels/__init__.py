"""Floor 1: functions on tensors, without modules. Each operation is a definition and faster variants of it.

The variants of each operation are named here, fastest first.
"""

from recurra.kernels import chunkwise, flash_memory, torch_functions, transducer_blocks
from recurra.kernels.conv_recurrence import conv_recurrence
from recurra.kernels.cpu import convolutions, crf_operation, crfs, fused, points, scans, transducers
from recurra.kernels.crf import likelihood, posterior
from recurra.kernels.crf_paths import best_path
from recurra.kernels.gated_scan import fits_loop, gated_scan, run_loop
from recurra.kernels.memory import memory
from recurra.kernels.pointwise import pointwise
from recurra.kernels.recurrence import recurrence, recurrences
from recurra.kernels.scan import double, scan
from recurra.kernels.transducer import steps, transducer

recurrence.variant("fused", fused.accepts)(fused.run)
conv_recurrence.variant("fused", convolutions.accepts)(convolutions.run)
pointwise.variant("fused", points.accepts)(points.run)
recurrence.captured = fused.run_captured
recurrences.variant("fused", fused.accepts_both)(fused.run_both)
recurrence.variant("torch", torch_functions.accepts)(torch_functions.run)
memory.variant("flash-linear-attention", flash_memory.accepts)(flash_memory.run)
memory.variant("chunkwise", chunkwise.accepts)(chunkwise.run)
memory.captured = chunkwise.run
scan.variant("native", scans.accepts)(scans.run)
scan.variant("doubling", lambda call: "")(double)
scan.captured = scans.run_captured
gated_scan.variant("fused", fits_loop)(run_loop)
likelihood.variant("native", crfs.accepts)(crfs.likelihood)
likelihood.captured = crf_operation.likelihood
posterior.variant("native", crfs.accepts_posterior)(crfs.posterior)
posterior.captured = crf_operation.posterior
best_path.variant("native", crfs.accepts)(crfs.best_path)
best_path.captured = crf_operation.best_path
transducer.variant("native", transducers.accepts)(transducers.run)
transducer.variant("blocks", transducer_blocks.accepts)(transducer_blocks.run)
steps.variant("blocks", transducer_blocks.accepts_steps)(transducer_blocks.arcs)
