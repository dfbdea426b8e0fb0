#!/usr/bin/env python3
"""The peers of `bench`: the same cases in PyTorch (and PyG), on random data.

Cases: knn (torch.cdist + topk, the matrix product + topk), newton_schulz, pointnet, dgcnn, egnn (k
neighbours as a dense axis, or PyG's message passing), gotennet (the published package), gine (PyG), pinn
(peer_pinn.py). A network has the parts of `bench --parts`: forward, gradient, adam or adamw, muon, hvp
(by double backward); those of pinn are its sizes. gotennet, gine and pinn read what
`bench CASE --export DIR` has written (--shared DIR) and compare loss and gradient with it: the first two
as the part check, apart from the others' peak memory, pinn always. Prints what the numbers depend on: versions, BLAS, threads and
the environment variables that govern the allocator. --json writes the keys that bench writes. The
peak resident set is the process's: one part per process makes it that part's.

Usage: peer_pytorch.py CASE [--variant V] [--parts P,..] [--threads N] [--json FILE]
"""
import argparse
import json
import os
import platform
import resource
import statistics
import time

import torch

import peer_graphs
import peer_networks
import peer_pinn

ENVIRONMENT = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES",
               "LD_PRELOAD", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_NUM_THREADS", "MKL_ENABLE_INSTRUCTIONS",
               "OMP_NUM_THREADS", "KMP_AFFINITY", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
               "BLIS_ARCH_TYPE")
PARTS = ("check", "forward", "gradient", "adam", "adamw", "muon", "hvp")
OPTIMIZERS = {"gotennet": ("adamw", "muon"), "gine": ("adamw", "muon")}  # the others: Adam, Muon
HVP_BATCH = {"pointnet": 8, "dgcnn": 4, "egnn": 4, "gotennet": 4, "gine": 32}
NETWORKS = {**peer_networks.NETWORKS, **peer_graphs.NETWORKS}


class Measure:
    """Times a step and prints and collects the row under `prefix` + key."""

    def __init__(self, args, prefix):
        self.args, self.prefix, self.numbers = args, prefix, {}
        print(f"{'':22s} {'median ms':>10s} {'min ms':>10s} {'max ms':>10s} {'page faults':>12s}")

    def __call__(self, key, step):
        wait = torch.cuda.synchronize if self.args.device == "cuda" else lambda: None
        for _ in range(self.args.warmup):
            step()
        seconds, cpu, faults = [], [], []
        for _ in range(self.args.repeats):
            wait()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            cpu_start = time.process_time()
            start = time.perf_counter()
            step()
            wait()
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        row = {"median_ms": 1e3 * statistics.median(seconds), "min_ms": 1e3 * min(seconds),
               "max_ms": 1e3 * max(seconds), "cpu_ms": 1e3 * statistics.median(cpu),
               "page_faults": statistics.mean(faults)}
        self.numbers.update({f"{self.prefix}{key}.{name}": x for name, x in row.items()})
        print(f"{key:22s} {row['median_ms']:10.2f} {row['min_ms']:10.2f} {row['max_ms']:10.2f} "
              f"{row['page_faults']:12.0f}", flush=True)


def cloud_problem(args):
    """The network, and n -> its loss on n random clouds."""
    torch.manual_seed(args.seed)
    model = peer_networks.NETWORKS[args.case][args.variant](args.k).train()
    called = torch.compile(model) if args.compile else model

    def loss_on(batch):
        points = torch.rand(batch, args.points, 3) * 1.2 - 0.6
        labels = torch.randint(peer_networks.CLASSES, (batch,))
        return lambda: peer_networks.loss_of(called, points, labels)

    return model, loss_on


def run_network(args, measure):
    parts = args.parts.split(",") if args.parts else PARTS
    if args.case in peer_graphs.NETWORKS:
        shared = os.path.join(args.shared, args.case + ".safetensors")
        model, loss_on, check = peer_graphs.problem(args.case, args.variant, shared, args.compile)
        if "check" in parts:
            check()
    else:
        model, loss_on = cloud_problem(args)
    count, expected = sum(p.numel() for p in model.parameters()), model.parameters_expected
    assert count == expected, f"{count} parameters, expected {expected}"
    matrices, rest = peer_networks.split(model)
    loss = loss_on(args.batch)

    def forward():
        with torch.no_grad():
            loss()

    def backward():
        model.zero_grad(set_to_none=True)
        loss().backward()

    def train(optimizer):
        backward()
        optimizer.step()

    if "forward" in parts:
        measure("forward", forward)
    if "gradient" in parts:
        measure("forward_backward", backward)
    for name in OPTIMIZERS.get(args.case, ("adam", "muon")):
        if name in parts:
            dtype = getattr(torch, args.muon_dtype)
            if name == "muon":
                optimizer = peer_networks.Muon(matrices, rest, dtype)
            else:
                kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
                optimizer = kind(model.parameters(), fused=True)
            backward()
            measure(f"{name}_update", optimizer.step)
            measure(f"{name}_step", lambda: train(optimizer))
    if "hvp" in parts:
        few = loss_on(args.hvp_batch or HVP_BATCH[args.case])
        hessian_vector_products(model, few, measure)


def hessian_vector_products(model, loss, measure):
    loss().backward()
    parameters = [p for p in model.parameters() if p.grad is not None]  # what the loss reads
    model.zero_grad(set_to_none=True)
    vectors = [torch.randn_like(p) for p in parameters]

    def gradient():
        torch.autograd.grad(loss(), parameters)

    def hvp():
        grads = torch.autograd.grad(loss(), parameters, create_graph=True)
        torch.autograd.grad(grads, parameters, grad_outputs=vectors, allow_unused=True)

    measure("hvp_gradient", gradient)
    measure("hvp_one_shot", hvp)


def run_pinn(args, measure):
    for size in args.parts.split(",") if args.parts else peer_pinn.SIZES:
        measure(size, peer_pinn.step_of(size, args.variant, args.shared))


def nearest(variant, x, k):
    if variant == "cdist":
        return torch.cdist(x, x).topk(k, dim=2, largest=False).indices
    square = (x * x).sum(2)
    score = torch.baddbmm(square[:, None, :], x, x.transpose(1, 2), alpha=-2)
    return score.topk(k, dim=2, largest=False, sorted=variant == "matmul").indices


def run_knn(args, measure):
    torch.manual_seed(args.seed)
    for dims in map(int, args.dims.split(",")):
        x = torch.randn(args.batch, args.points, dims)
        if dims == 3:
            x /= x.norm(dim=2, keepdim=True)
        measure(f"d{dims}", lambda: nearest(args.variant, x, args.k))


STACKS = ((32, 64, 64), (1, 512, 1024), (1, 1024, 1024), (8, 512, 512))


def run_newton_schulz(args, measure):
    torch.manual_seed(args.seed)
    dtype = getattr(torch, args.muon_dtype)
    for shape in STACKS:
        m = torch.randn(shape)
        measure("x".join(map(str, shape)), lambda: peer_networks.orthogonalise(m, dtype))


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=("knn", "newton_schulz", "pinn", *NETWORKS))
    parser.add_argument("--variant", help="knn: cdist, matmul, unsorted; egnn: regular, pyg; "
                        "pinn: " + ", ".join(peer_pinn.VARIANTS))
    parser.add_argument("--shared", metavar="DIR", default=".", help="what bench --export wrote")
    parser.add_argument("--parts", default="", help="of a network, a comma list; default all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--dims", default="3,64,128", help="of the case knn")
    parser.add_argument("--hvp-batch", type=int, default=0)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--muon-dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="torch.compile (no hvp then)")
    parser.add_argument("--label", default="", help="a word for the JSON record, e.g. tuned")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    others = {"knn": ("cdist", "matmul", "unsorted"), "newton_schulz": ("batched",),
              "pinn": peer_pinn.VARIANTS}
    variants = NETWORKS.get(args.case) or others[args.case]
    args.variant = args.variant or next(iter(variants))
    if args.variant not in variants:
        parser.error(f"--variant: {args.case} has {', '.join(variants)}")
    parts = tuple(peer_pinn.SIZES) if args.case == "pinn" else PARTS
    if set(args.parts.split(",")) - {*parts, ""}:
        parser.error(f"--parts: known are {', '.join(parts)}")
    return args


def peer_imports(args):
    """What the case imports late, so that it counts as the start of the process."""
    if args.case in peer_graphs.NETWORKS:
        peer_graphs.NETWORKS[args.case][args.variant].imports()
    elif args.variant == "deepxde":
        peer_pinn.import_deepxde()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)  # of every tensor that is made below
    peer_imports(args)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # with everything imported
    build = [line.strip(" -") for line in torch.__config__.show().splitlines()
             if any(key in line for key in ("Math Kernel", "MKL-DNN", "OpenMP", "CPU capability"))]
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    words = (args.case, args.variant, "compiled" if args.compile else "", args.label)
    shared = args.case == "pinn" or args.case in peer_graphs.NETWORKS
    size = f"batch of {args.shared}" if shared else f"B={args.batch} N={args.points} k={args.k}"
    print(f"torch {torch.__version__}, python {platform.python_version()}, {args.threads} threads, "
          f"{torch.cuda.get_device_name() if args.device == 'cuda' else 'cpu'}, {size}, "
          f"{', '.join(w for w in words if w)}")
    print("built with: " + "; ".join(build))
    print("environment: " + (" ".join(f"{k}={v}" for k, v in environment.items()) or "none of "
                             + " ".join(ENVIRONMENT)))
    prefix = f"{args.case}." + (f"t{args.threads}." if args.device == "cpu" else "cuda.")
    measure = Measure(args, prefix)
    runs = {"knn": run_knn, "newton_schulz": run_newton_schulz, "pinn": run_pinn}
    runs.get(args.case, run_network)(args, measure)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak resident set {peak / 1e6:.0f} MB")
    if args.json:
        record = {"label": args.label, "variant": args.variant, "compiled": args.compile,
                  "torch": torch.__version__, "built_with": "; ".join(build),
                  "environment": " ".join(f"{k}={v}" for k, v in environment.items()),
                  "batch": args.batch, "points": args.points, "k": args.k,
                  "start_rss_bytes": start, f"{prefix}peak_rss_bytes": peak, **measure.numbers}
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(record, out, indent=2)
            out.write("\n")


if __name__ == "__main__":
    main()
