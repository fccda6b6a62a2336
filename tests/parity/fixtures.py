"""What the programs that write tests/fixtures/*.safetensors share."""
import pathlib
import sys

import torch

import safetensors_io

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures"


def half_exact(tensor):
    return tensor.half().float()


def calibrate(model, x, rounds=3):
    """Lets the running statistics of batch norm see data, so that eval mode is neither trivial nor degenerate."""
    model.train()
    with torch.no_grad():
        for _ in range(rounds):
            model(x + 0.1 * torch.randn_like(x) * x.std())


def weights_of(model, prefix="weights."):
    """The state_dict: parameters as float16, which they equal exactly, buffers as they are."""
    parameters = {name for name, _ in model.named_parameters()}
    return {prefix + name: tensor.half() if name in parameters else tensor.clone()
            for name, tensor in model.state_dict().items()}


def write(fixtures, prefix=""):
    """Makes those of `fixtures`, one function each, that the command line names, or all."""
    by_name = {fixture.__name__: fixture for fixture in fixtures}
    names = sys.argv[1:] or list(by_name)
    unknown = [name for name in names if name not in by_name]
    if unknown:
        sys.exit(f"there is no fixture {', '.join(unknown)}; there are {', '.join(by_name)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in names:
        torch.manual_seed(2025)  # for each file alone, so that adding one changes no other
        path = FOLDER / f"{prefix}{name}.safetensors"
        safetensors_io.save(path, {key: tensor.detach() for key, tensor in by_name[name]().items()})
        print(f"{path.name}: {path.stat().st_size} bytes")
