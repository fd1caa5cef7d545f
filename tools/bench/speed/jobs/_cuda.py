"""What the measurements on a GPU share: whether there is one, what it is called, and waiting for it."""

from tools.bench.speed.stopwatch import Call

ABSENT = "no CUDA device"


def device_name() -> str:
    """Return the name of the first CUDA device; empty when torch sees none."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""


def finished(call: Call, device: str) -> Call:
    """Return a call that waits until the device has done what was asked: calls to it return at once."""
    import torch

    if device == "cpu":
        return call

    def run() -> object:
        done = call()
        torch.cuda.synchronize()
        return done

    return run
