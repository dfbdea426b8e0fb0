"""The peers of `bench pinn`: the residual of Burgers' equation, r = u_t + u u_x - nu u_xx, of a tanh
network in float64, loss mean r^2, and its gradient with respect to the weights.

Variants: autograd (derivatives by reverse mode, create_graph), forward (torch.func.jvp, nested),
compiled (the faster of these two that torch.compile takes), deepxde (its PDE data, network and loss).
Weights and points come from `bench pinn --export DIR`, DIR/pinn_SIZE.safetensors, and loss and gradient
are compared with the file's before anything is timed.
"""
import math
import os

import torch
import torch.nn as nn
from safetensors.torch import load_file
from torch.func import jvp

NU = 0.01 / math.pi
SIZES = {"20x3": (20, 3), "128x4": (128, 4)}  # width x hidden layers
VARIANTS = ("autograd", "forward", "compiled", "deepxde")


class Fnn(nn.Module):
    """u(x, t): tanh between linear maps; names as DeepXDE's."""

    def __init__(self, width, hidden):
        super().__init__()
        sizes = (2, *[width] * hidden, 1)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        for linear in self.linears[:-1]:
            x = torch.tanh(linear(x))
        return self.linears[-1](x)


def reverse_loss(net, x):
    u = net(x)
    first, = torch.autograd.grad(u.sum(), x, create_graph=True)
    u_x, u_t = first[:, :1], first[:, 1:]
    second, = torch.autograd.grad(u_x.sum(), x, create_graph=True)
    return (u_t + u * u_x - NU * second[:, :1]).square().mean()


def forward_loss(net, x):
    along_x, along_t = torch.zeros_like(x), torch.zeros_like(x)
    along_x[:, 0], along_t[:, 1] = 1, 1
    _, u_t = jvp(net, (x,), (along_t,))
    (u, u_x), (_, u_xx) = jvp(lambda y: jvp(net, (y,), (along_x,)), (x,), (along_x,))
    return (u_t + u * u_x - NU * u_xx).square().mean()


def import_deepxde():
    os.environ.setdefault("DDE_BACKEND", "pytorch")
    import deepxde
    deepxde.config.set_default_float("float64")
    return deepxde


def deepxde_loss(width, hidden, points):
    dde = import_deepxde()

    def pde(x, u):
        u_x, u_t = dde.grad.jacobian(u, x, i=0, j=0), dde.grad.jacobian(u, x, i=0, j=1)
        return u_t + u * u_x - NU * dde.grad.hessian(u, x, i=0, j=0)

    domain = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))
    data = dde.data.TimePDE(domain, pde, [], num_domain=0, anchors=points.detach().numpy())
    net = dde.nn.FNN([2] + [width] * hidden + [1], "tanh", "Glorot normal")
    model = dde.Model(data, net)
    model.compile("adam", lr=1e-3, verbose=0)
    inputs, targets, extra = data.train_next_batch()
    assert len(inputs) == len(points)
    return net, lambda: model.outputs_losses_train(inputs, targets, extra)[1].sum()


def compiled_loss(net, points):
    """Of the two ways the faster one; a way that torch.compile refuses is named."""
    import time
    best, least = None, math.inf
    for way in (forward_loss, reverse_loss):
        step = torch.compile(lambda x, way=way: way(net, x))
        seconds = []
        try:
            for _ in range(3):
                start = time.perf_counter()
                step(points).backward()
                seconds.append(time.perf_counter() - start)
        except Exception as error:  # of many kinds, from anywhere in the compiler
            print(f"torch.compile of {way.__name__}: {type(error).__name__}: "
                  f"{str(error).splitlines()[0]}")
            continue
        print(f"torch.compile of {way.__name__}: {1e3 * min(seconds):.1f} ms")
        if min(seconds) < least:
            best, least = step, min(seconds)
    assert best, "torch.compile takes neither way"
    return lambda: best(points)


def reproduce(net, loss, file):
    for p in net.parameters():
        p.grad = None
    value = loss()
    value.backward()
    gap = sum((p.grad - file["gradient." + n]).square().sum().item()
              for n, p in net.named_parameters())
    size = sum(file["gradient." + n].square().sum().item() for n, _ in net.named_parameters())
    off, gap = abs(value.item() / file["loss"].item() - 1), (gap / size) ** 0.5
    print(f"same function: loss {value.item():.9g}, off by {off:.1e}; gradient off by {gap:.1e}, relative")
    assert off < 1e-10 and gap < 1e-10, "another function than the one in the file"


def step_of(size, variant, folder):
    """One call: the loss and its gradient."""
    torch.set_default_dtype(torch.float64)
    file = load_file(os.path.join(folder, f"pinn_{size}.safetensors"))
    points = file["input.points"].requires_grad_()
    net, loss = Fnn(*SIZES[size]), None
    if variant == "deepxde":
        net, loss = deepxde_loss(*SIZES[size], points)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(file[name])
    if variant == "autograd":
        loss = lambda: reverse_loss(net, points)
    elif variant == "forward":
        points = points.detach()
        loss = lambda: forward_loss(net, points)
    elif variant == "compiled":
        loss = compiled_loss(net, points)
    reproduce(net, loss, file)

    def step():
        net.zero_grad(set_to_none=True)
        loss().backward()

    return step
