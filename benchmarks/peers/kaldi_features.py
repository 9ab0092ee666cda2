"""The features of the package kaldi-native-fbank, Kaldi's own code in C++."""

from typing import Any

import kaldi_native_fbank
import torch
from torch import Tensor

__all__ = ["Stream", "frames"]


class Stream:
    """Its filter banks or cepstra, with the definitions of recurra: no dither, no energy."""

    def __init__(self, kind: str, rate: int, size: int) -> None:
        cepstra = kind == "Cepstra"
        options = kaldi_native_fbank.MfccOptions() if cepstra else kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq = rate
        options.frame_opts.dither = 0
        if cepstra:
            options.use_energy, options.num_ceps = False, size
        else:
            options.mel_opts.num_bins = size
        self.make = kaldi_native_fbank.OnlineMfcc if cepstra else kaldi_native_fbank.OnlineFbank
        self.rate, self.options = rate, options

    def __call__(self, *blocks: list[float]) -> Any:
        """Frames of blocks of samples, given one after the other; they stay inside the answer."""
        stream = self.make(self.options)
        for block in blocks:
            stream.accept_waveform(self.rate, block)
        stream.input_finished()
        return stream


def frames(stream: Any) -> Tensor:
    """The frames of a stream ``(T, F)``."""
    return torch.stack([torch.tensor(stream.get_frame(i)) for i in range(stream.num_frames_ready)])
