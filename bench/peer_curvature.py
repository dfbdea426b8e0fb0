#!/usr/bin/env python3
"""The peers of `landscape_probe --parts curvature`: the largest eigenvalue and the trace of the Hessian
of a trained PointNet, by curvlinops (with SciPy's ARPACK) or by hessian_eigenthings (its own Lanczos).

Reads WEIGHTS (safetensors under the names of the common PyTorch code, as Basin's checkpoints have them)
and the training shapes of a ModelNet40 folder in HDF5 that `landscape_probe --limit L --examples 0`
measures: L of them, spread evenly, the first points of each, centred, of radius 1. The loss is the mean
cross-entropy, batch norm has its running statistics, dropout is off, products and the vectors of a tool
are f32 unless --dtype says f64. One tool per
process, so that its wall time and its peak resident set are that tool's, imports and reading included.
With --basin FILE (the probe's curvature.json) the two are compared: the same loss to 1e-5, the largest
eigenvalue to 1e-4, 95 % intervals of the trace that overlap; else exit code 1.

Usage: peer_curvature.py curvlinops|hessian_eigenthings WEIGHTS DATA [--basin FILE] [--json FILE]
"""
import argparse
import json
import os
import resource
import statistics
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.stats import t as student

import peer_networks


def process_seconds():
    """Since the start of the process."""
    with open("/proc/self/stat", encoding="ascii") as f:
        ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/uptime", encoding="ascii") as f:
        return float(f.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def published_name(name):
    """The name in the common port of a parameter or buffer of peer_networks.PointNet."""
    module, rest = name.split(".", 1)
    if module in ("tnet3", "tnet64"):
        parts = rest.split(".")
        if parts[0] in ("convs", "conv_norms"):
            layer = ("conv" if parts[0] == "convs" else "bn") + str(int(parts[1]) + 1)
        else:
            layer = {"norm1": "bn4", "norm2": "bn5"}.get(parts[0], parts[0])
        return ".".join(("feat.stn" if module == "tnet3" else "feat.fstn", layer, parts[-1]))
    in_features = {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3",
                   "norm1": "bn1", "norm2": "bn2", "norm3": "bn3"}
    if module in in_features:
        return f"feat.{in_features[module]}.{rest}"
    return f"{ {'norm4': 'bn1', 'norm5': 'bn2'}.get(module, module)}.{rest}"


class Classifier(torch.nn.Module):
    """PointNet with the published weights, as points -> logits."""

    def __init__(self, weights):
        super().__init__()
        self.net = peer_networks.PointNet()
        state, given = self.net.state_dict(), load_file(weights)
        wanted = {name: published_name(name) for name in state}
        missing = sorted(set(wanted.values()) - set(given))
        missing = [n for n in missing if not n.endswith("num_batches_tracked")]
        assert not missing, f"{weights}: lacks {missing[0]} and {len(missing) - 1} more"
        left = set(given) - set(wanted.values())
        assert not left, f"{weights}: holds {sorted(left)[0]} too, which PointNet has not"
        self.net.load_state_dict({name: given[w].view_as(state[name])
                                  for name, w in wanted.items() if w in given}, strict=False)
        self.eval()

    def forward(self, points):
        return self.net(points)[0]


def shapes(folder, limit, points):
    with open(os.path.join(folder, "train_files.txt"), encoding="utf-8") as f:
        names = [os.path.basename(line.strip()) for line in f if line.strip()]
    clouds, labels = [], []
    for name in names:
        with h5py.File(os.path.join(folder, name)) as f:
            clouds.append(f["data"][:, :points])
            labels.append(f["label"][:].reshape(-1))
    x, y = np.concatenate(clouds).astype(np.float64), np.concatenate(labels).astype(np.int64)
    rows = np.arange(limit) * len(x) // limit
    x = x[rows] - x[rows].mean(1, keepdims=True)
    x /= np.sqrt((x * x).sum(2).max(1))[:, None, None]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y[rows])


class Products:
    """Counts them and says how far they are."""

    def __init__(self, multiply):
        self.multiply, self.done = multiply, 0

    def __call__(self, *args):
        out = self.multiply(*args)
        self.done += 1
        print(f"product {self.done}, {process_seconds():.0f} s", file=sys.stderr, flush=True)
        return out


def by_curvlinops(args, model, batches):
    import scipy.sparse.linalg
    from curvlinops import HessianLinearOperator, hutchinson_trace

    hessian = HessianLinearOperator(model, torch.nn.CrossEntropyLoss(), list(model.parameters()), batches,
                                    check_deterministic=False, num_data=args.limit)
    counted = Products(hessian._matmat)
    hessian._matmat = counted
    dtype = {"f32": np.float32, "f64": np.float64}[args.dtype]
    operator = hessian.to_scipy(dtype=dtype)
    start = np.random.default_rng(args.seed).standard_normal(operator.shape[0]).astype(dtype)
    values = scipy.sparse.linalg.eigsh(operator, k=1, which="LA", tol=args.tolerance, v0=start,
                                       ncv=args.steps, return_eigenvectors=False)
    eigen = counted.done
    torch.manual_seed(args.seed)
    samples = [hutchinson_trace(hessian, 1).item() for _ in range(args.probes)]
    return float(values[0]), True, eigen, samples


def by_hessian_eigenthings(args, model, batches):
    from hessian_eigenthings import HessianOperator, lanczos, trace

    hessian = HessianOperator(model, batches, lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]))
    counted = Products(hessian.matvec)
    hessian.matvec = counted
    found = lanczos(hessian, k=1, max_iter=args.steps, tol=args.tolerance, which="LA", seed=args.seed)
    eigen = counted.done
    samples = trace(hessian, num_matvecs=args.probes, method="hutchinson", seed=args.seed).samples
    return found.eigenvalues[0].item(), bool(found.converged[0]), eigen, samples.tolist()


TOOLS = {"curvlinops": by_curvlinops, "hessian_eigenthings": by_hessian_eigenthings}


def mean_loss(model, batches):
    with torch.no_grad():
        losses = [F.cross_entropy(model(x), y, reduction="sum").item() for x, y in batches]
    return sum(losses) / sum(len(y) for _, y in batches)


def compare(mine, file):
    with open(file, encoding="utf-8") as f:
        basin = json.load(f)["record"][0]
    loss, top, trace = basin["loss"], basin["top"][0], basin["trace"]
    low, high = trace["low"], trace["high"]
    off_loss, off = abs(mine["loss"] / loss - 1), abs(mine["lambda_max"] / top["value"] - 1)
    overlap = mine["trace_low"] <= high and low <= mine["trace_high"]
    print(f"Basin: loss {loss:.7g}, lambda max {top['value']:.7g}, trace {trace['value']:.5g} "
          f"[{low:.5g}, {high:.5g}], {basin['products']} products, {basin['seconds']:.1f} s of the part\n"
          f"off by: loss {off_loss:.1e}, lambda max {off:.1e}; intervals of the trace "
          f"{'overlap' if overlap else 'do not overlap'}")
    return off_loss < 1e-5 and off < 1e-4 and overlap


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("weights")
    parser.add_argument("data")
    parser.add_argument("--limit", type=int, default=1024, help="shapes")
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--steps", type=int, default=10,
                        help="of hessian_eigenthings' Lanczos, between restarts of ARPACK")
    parser.add_argument("--probes", type=int, default=24, help="of the trace")
    parser.add_argument("--dtype", choices=["f32", "f64"], default="f32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--basin", metavar="FILE", help="curvature.json of landscape_probe")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.limit % args.batch:
        parser.error("--limit: a multiple of --batch, since both tools weigh batches alike")
    torch.set_num_threads(args.threads)
    dtype = {"f32": torch.float32, "f64": torch.float64}[args.dtype]
    x, y = shapes(args.data, args.limit, args.points)
    batches = list(zip(x.to(dtype).split(args.batch), y.split(args.batch)))
    model = Classifier(args.weights).to(dtype)
    value, converged, eigen, samples = TOOLS[args.tool](args, model, batches)
    seconds, used = process_seconds(), resource.getrusage(resource.RUSAGE_SELF)
    error = statistics.stdev(samples) / len(samples) ** 0.5
    half = student.ppf(0.975, len(samples) - 1) * error
    mean = statistics.fmean(samples)
    mine = {"tool": args.tool, "torch": torch.__version__, "threads": args.threads,
            "dtype": args.dtype,
            "loss": mean_loss(model, batches), "lambda_max": value, "converged": converged,
            "eigenvalue_products": eigen, "trace": mean, "trace_standard_error": error,
            "trace_low": mean - half, "trace_high": mean + half, "products": eigen + len(samples), "seconds": seconds,
            "cpu_seconds": used.ru_utime + used.ru_stime, "peak_rss_bytes": used.ru_maxrss * 1024}
    print(f"{args.tool}: loss {mine['loss']:.7g}, lambda max {value:.7g}"
          f"{'' if converged else ' (not converged)'}, trace {mean:.5g} (standard error {error:.3g}) "
          f"[{mean - half:.5g}, {mean + half:.5g}], {mine['products']} products ({eigen} of them for lambda "
          f"max), {seconds:.1f} s, {mine['cpu_seconds']:.1f} s of processors, peak resident "
          f"{mine['peak_rss_bytes'] / 1e9:.2f} GB")
    agree = compare(mine, args.basin) if args.basin else True
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(mine, out, indent=2)
            out.write("\n")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
