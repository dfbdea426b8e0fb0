#!/usr/bin/env python3
"""The peer of `bench pointnet`: PointNet (preset port, 3,471,473 parameters) in plain PyTorch.

Measures forward, forward + backward, an Adam step, a Muon step and a Hessian-vector product on
random clouds, with the page faults of each step, and prints what the numbers depend on: versions,
BLAS, thread count and the environment variables that govern the allocator. Per-point layers are
Conv1d, the faster of the two layouts. Muon follows K. Jordan's form (momentum 0.95 as a moving
average, Nesterov, five quintic steps, scale sqrt(max(1, rows/cols))) with every convolution read as
a matrix; the first layers, the last one and all vectors go to Adam.

Usage: peer_pytorch.py [--threads N] [--batch 32] [--points 1024] [--hvp-batch 8] [--json FILE]
"""
import argparse
import json
import os
import platform
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

ENVIRONMENT = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES",
               "LD_PRELOAD", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_NUM_THREADS",
               "OMP_NUM_THREADS", "KMP_AFFINITY", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
               "BLIS_ARCH_TYPE")
PARAMETERS = 3_471_473


class TNet(nn.Module):
    """Predicts a K x K transform: K -> 64 -> 128 -> 1024, max, 512, 256, K^2, plus the identity."""

    def __init__(self, k):
        super().__init__()
        self.k = k
        widths = (k, 64, 128, 1024)
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 1) for a, b in zip(widths, widths[1:]))
        self.conv_norms = nn.ModuleList(nn.BatchNorm1d(w) for w in widths[1:])
        self.fc1, self.fc2 = nn.Linear(1024, 512), nn.Linear(512, 256)
        self.fc3 = nn.Linear(256, k * k)
        self.norm1, self.norm2 = nn.BatchNorm1d(512), nn.BatchNorm1d(256)

    def forward(self, x):  # [B, K, N]
        for conv, norm in zip(self.convs, self.conv_norms):
            x = F.relu(norm(conv(x)))
        x = x.max(dim=2).values
        x = F.relu(self.norm1(self.fc1(x)))
        x = F.relu(self.norm2(self.fc2(x)))
        return self.fc3(x).view(-1, self.k, self.k) + torch.eye(self.k)


class PointNet(nn.Module):
    def __init__(self, classes=40, dropout=0.3):
        super().__init__()
        self.tnet3, self.tnet64 = TNet(3), TNet(64)
        self.conv1, self.norm1 = nn.Conv1d(3, 64, 1), nn.BatchNorm1d(64)
        self.conv2, self.norm2 = nn.Conv1d(64, 128, 1), nn.BatchNorm1d(128)
        self.conv3, self.norm3 = nn.Conv1d(128, 1024, 1), nn.BatchNorm1d(1024)
        self.fc1, self.fc2 = nn.Linear(1024, 512), nn.Linear(512, 256)
        self.fc3 = nn.Linear(256, classes)
        self.norm4, self.norm5 = nn.BatchNorm1d(512), nn.BatchNorm1d(256)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):  # [B, 3, N] -> logits [B, classes], feature transform [B, 64, 64]
        x = torch.bmm(self.tnet3(x).transpose(1, 2), x)
        x = F.relu(self.norm1(self.conv1(x)))
        transform = self.tnet64(x)
        x = torch.bmm(transform.transpose(1, 2), x)
        x = F.relu(self.norm2(self.conv2(x)))
        x = self.norm3(self.conv3(x)).max(dim=2).values
        x = F.relu(self.norm4(self.fc1(x)))
        x = F.relu(self.norm5(self.dropout(self.fc2(x))))
        return self.fc3(x), transform


def loss_of(model, points, labels):
    logits, a = model(points)
    gap = torch.bmm(a, a.transpose(1, 2)) - torch.eye(64)
    return F.cross_entropy(logits, labels) + 0.001 * gap.flatten(1).norm(dim=1).mean()


def orthogonalise(m, dtype):
    x = m.to(dtype)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).to(m.dtype)


class Muon:
    """Muon on the given matrices, torch's Adam on the rest."""

    def __init__(self, matrices, rest, dtype, lr=0.02, momentum=0.95):
        self.matrices, self.dtype, self.lr, self.momentum = matrices, dtype, lr, momentum
        self.buffers = [torch.zeros_like(p) for p in matrices]
        self.adam = torch.optim.Adam(rest, lr=3e-4, betas=(0.9, 0.95), eps=1e-10)

    @torch.no_grad()
    def step(self):
        for p, buffer in zip(self.matrices, self.buffers):
            buffer.lerp_(p.grad, 1 - self.momentum)
            m = torch.lerp(p.grad, buffer, self.momentum).flatten(1)
            scale = max(1.0, m.shape[0] / m.shape[1]) ** 0.5
            p.add_(orthogonalise(m, self.dtype).view_as(p), alpha=-self.lr * scale)
        self.adam.step()


def split(model):
    firsts_and_head = {"tnet3.convs.0.weight", "conv1.weight", "fc3.weight"}
    matrices, rest = [], []
    for name, p in model.named_parameters():
        (matrices if p.dim() >= 2 and name not in firsts_and_head else rest).append(p)
    return matrices, rest


def measure(name, step, warmup, repeat):
    for _ in range(warmup):
        step()
    seconds, faults = [], []
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt)
    seconds.sort()
    row = {"name": name, "median_ms": 1e3 * statistics.median(seconds),
           "min_ms": 1e3 * seconds[0], "max_ms": 1e3 * seconds[-1],
           "page_faults": int(statistics.median(faults)), "repeat": repeat}
    print(f"{name:18s} {row['median_ms']:10.1f} {row['min_ms']:10.1f} {row['max_ms']:10.1f} "
          f"{row['page_faults']:12d}", flush=True)
    return row


def cases(args):
    torch.manual_seed(args.seed)
    model = PointNet().train()
    count = sum(p.numel() for p in model.parameters())
    assert count == PARAMETERS, f"{count} parameters, expected {PARAMETERS}"
    points = torch.randn(args.batch, 3, args.points)
    labels = torch.randint(40, (args.batch,))
    matrices, rest = split(model)
    adam = torch.optim.Adam(model.parameters())
    muon = Muon(matrices, rest, getattr(torch, args.muon_dtype))

    def forward():
        with torch.no_grad():
            loss_of(model, points, labels)

    def backward():
        model.zero_grad(set_to_none=True)
        loss_of(model, points, labels).backward()

    def adam_step():
        backward()
        adam.step()

    def muon_step():
        backward()
        muon.step()

    parameters = list(model.parameters())
    vectors = [torch.randn_like(p) for p in parameters]
    few, few_labels = points[:args.hvp_batch], labels[:args.hvp_batch]

    def gradient_few():
        torch.autograd.grad(loss_of(model, few, few_labels), parameters)

    def hvp():
        grads = torch.autograd.grad(loss_of(model, few, few_labels), parameters, create_graph=True)
        torch.autograd.grad(grads, parameters, grad_outputs=vectors)

    b = args.hvp_batch
    return {"forward": forward, "forward+backward": backward, "adam_step": adam_step,
            "muon_step": muon_step, f"gradient_b{b}": gradient_few, f"hvp_b{b}": hvp}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--hvp-batch", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--muon-dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--only", help="measure only the case of this name")
    parser.add_argument("--label", default="", help="a word for the JSON record, e.g. tuned")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    build = [line.strip(" -") for line in torch.__config__.show().splitlines()
             if any(key in line for key in ("Math Kernel", "MKL-DNN", "OpenMP", "CPU capability"))]
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    print(f"torch {torch.__version__}, python {platform.python_version()}, {args.threads} threads, "
          f"B={args.batch} N={args.points}" + (f", {args.label}" if args.label else ""))
    print("built with: " + "; ".join(build))
    print("environment: " + (" ".join(f"{k}={v}" for k, v in environment.items()) or "none of "
                             + " ".join(ENVIRONMENT)))
    print(f"{'case':18s} {'median ms':>10s} {'min ms':>10s} {'max ms':>10s} {'page faults':>12s}")
    rows = [measure(name, step, args.warmup, args.repeat) for name, step in cases(args).items()
            if args.only in (None, name)]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak resident set {peak_mb:.0f} MiB")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"label": args.label, "torch": torch.__version__, "built_with": build,
                       "environment": environment, "threads": args.threads, "batch": args.batch,
                       "points": args.points, "parameters": PARAMETERS, "peak_mib": peak_mb,
                       "cases": rows}, out, indent=2)
            out.write("\n")


if __name__ == "__main__":
    main()
