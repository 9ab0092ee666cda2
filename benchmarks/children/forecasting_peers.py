"""Seconds that NeuralForecast or Darts take: ``python benchmarks/children/forecasting_peers.py series.npy JOB``.

It is run by the Python of an environment that has them and not recurra: they need other versions of what recurra
needs. The file has the series ``(N, T + H)`` in float32, JOB is the `Work` of `benchmarks.sections.forecasting` as
JSON. The first T steps are trained on, the last H are to be forecast. Printed is one line of JSON.
"""

import importlib.metadata
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

__all__: list[str] = []

QUIET = {
    "enable_progress_bar": False,
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}
RATE = 1e-3

Job = dict[str, Any]


def main() -> None:
    """Train once for nothing but the imports, then with the clock running."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import numpy

    path, job = sys.argv[1], json.loads(sys.argv[2])
    _threads(job["threads"])
    series = numpy.load(path, allow_pickle=False)
    run = _darts if job["peer"] == "Darts" else _neuralforecast
    run(series[:2], {**job, "epochs": 1, "draws": 1})
    fit, predict, mean = run(series, job)
    error = float(numpy.abs(mean - series[:, -job["horizon"] :]).mean())
    package = {"Darts": "darts", "NeuralForecast": "neuralforecast"}[job["peer"]]
    version = importlib.metadata.version(package)
    print(json.dumps({"fit": fit, "predict": predict, "error": error, "version": version}))


def _threads(number: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(number)
    import torch

    torch.set_num_threads(number)


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = act()
    return time.perf_counter() - begin, result


def _neuralforecast(series: Any, job: Job) -> tuple[float, float, Any]:
    import numpy
    import pandas
    from neuralforecast import NeuralForecast

    rows = series[:, : -job["horizon"]]
    number, steps = rows.shape
    frame = pandas.DataFrame(
        {
            "unique_id": numpy.repeat(numpy.arange(number), steps),
            "ds": numpy.tile(numpy.arange(steps), number),
            "y": rows.ravel(),
        }
    )
    forecaster = NeuralForecast(models=[_network(job, number)], freq=1)
    fit, _ = _timed(lambda: forecaster.fit(frame))
    forecaster.predict()
    predict, found = _timed(forecaster.predict)
    column = next(name for name in found.columns if name not in ("unique_id", "ds"))
    return fit, predict, found[column].to_numpy().reshape(number, -1)


def _network(job: Job, number: int) -> Any:
    from neuralforecast.losses.pytorch import DistributionLoss, MQLoss
    from neuralforecast.models import GRU, LSTM, DeepAR

    batch = job["batch"]
    common = {
        "h": job["horizon"],
        "input_size": job["history"],
        "max_steps": max(1, job["epochs"] * number * job["draws"] // batch),
        "windows_batch_size": batch,
        "inference_windows_batch_size": max(batch, number),
        "batch_size": 32,
        "valid_batch_size": number,
        "learning_rate": RATE,
        "num_lr_decays": -1,
        "scaler_type": "identity",
        "accelerator": "cpu",
        "val_check_steps": 10**6,
        **QUIET,
    }
    if job["model"] == "DeepAR":
        loss = DistributionLoss("Normal", level=[80])
        sizes = {"lstm_n_layers": 1, "lstm_hidden_size": job["hidden"], "lstm_dropout": 0.0}
        return DeepAR(**common, **sizes, trajectory_samples=job["paths"], loss=loss)
    sizes = {"encoder_n_layers": 1, "encoder_hidden_size": job["hidden"], "decoder_hidden_size": job["hidden"]}
    make = {"LSTM": LSTM, "GRU": GRU}[job["model"]]
    return make(**common, **sizes, recurrent=False, loss=MQLoss(quantiles=job["levels"]))


def _darts(series: Any, job: Job) -> tuple[float, float, Any]:
    import numpy
    from darts import TimeSeries
    from darts.models import RNNModel
    from darts.utils.likelihood_models import GaussianLikelihood

    horizon = job["horizon"]
    rows = [TimeSeries.from_values(row) for row in series[:, :-horizon]]
    network = RNNModel(
        input_chunk_length=job["history"],
        training_length=job["history"] + horizon,
        model="LSTM",
        hidden_dim=job["hidden"],
        n_rnn_layers=1,
        likelihood=GaussianLikelihood(),
        batch_size=job["batch"],
        n_epochs=job["epochs"],
        optimizer_kwargs={"lr": RATE},
        pl_trainer_kwargs={"accelerator": "cpu", **QUIET},
    )
    fit, _ = _timed(lambda: network.fit(rows, max_samples_per_ts=job["draws"]))
    draw = lambda: network.predict(horizon, series=rows, num_samples=job["paths"])
    predict, found = _timed(draw)
    return fit, predict, numpy.stack([one.all_values()[:, 0].mean(1) for one in found])


if __name__ == "__main__":
    main()
