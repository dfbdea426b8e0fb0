"""The peers of `bench gotennet` and `bench gine`: the published package `gotennet` and PyTorch Geometric.

Both take the file that `bench CASE --export DIR` has written: weights under their published names,
the batch, and the loss and gradient without dropout, which the peer has to reproduce (the part "check"):
the two sides run the same network on the same data.
"""
import sys
import types

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file


def radius_graph(x, r, batch=None, loop=False, max_num_neighbors=32, **_):
    """The part of torch_cluster.radius_graph that the package uses; a few hundred atoms."""
    near = (torch.cdist(x.detach(), x.detach()) < r) & (batch[:, None] == batch[None, :])
    if not loop:
        near.fill_diagonal_(False)
    target, source = near.nonzero(as_tuple=True)
    return torch.stack([source, target])


def lend_extensions():
    """torch_cluster and torch_scatter, which the package imports, where there are no wheels."""
    from torch_geometric.utils import scatter
    try:
        import torch_cluster  # noqa: F401
    except ImportError:
        sys.modules["torch_cluster"] = types.ModuleType("torch_cluster")
        sys.modules["torch_cluster"].radius_graph = radius_graph
    try:
        import torch_scatter  # noqa: F401
    except ImportError:
        sys.modules["torch_scatter"] = types.ModuleType("torch_scatter")
        sys.modules["torch_scatter"].scatter = (
            lambda src, index, dim=-1, out=None, dim_size=None, reduce="sum":
            scatter(src, index, dim, dim_size, reduce))


class GotenNet(nn.Module):
    """The package's network and its head for an extensive target, as its QM9 configuration has
    them: 4 blocks, 256 channels, coefficients of their own for every degree, dropout 0.1."""

    parameters_expected = 7_712_513
    for_adam = {"representation.A_na.weight", "representation.node_init.A_nbr.weight",
                "representation.node_init.W_ndp.dense_layers.0.weight",
                "representation.edge_init.W_erp.weight", "output.out_net.1.out_net.1.weight"}

    @staticmethod
    def imports():
        lend_extensions()
        import gotennet.models.representation.gotennet  # noqa: F401
        import gotennet.models.components.outputs  # noqa: F401

    def __init__(self):
        super().__init__()
        from gotennet.models.components.layers import CosineCutoff
        from gotennet.models.components.outputs import Atomwise
        from gotennet.models.representation.gotennet import GotenNetWrapper
        self.representation = GotenNetWrapper(
            n_atom_basis=256, n_interactions=4, n_rbf=64, radial_basis="expnorm", lmax=2,
            num_heads=8, max_z=100, cutoff_fn=CosineCutoff(5.0), attn_dropout=0.1,
            scale_edge=False, sep_htr=True, sep_dir=True, sep_tensor=True, max_num_neighbors=32)
        self.output = Atomwise(256, n_hidden=256, activation=F.silu, standardize=False)

    @staticmethod
    def published_name(name):
        return name.split(".", 1)[1]

    @staticmethod
    def first_of(batch, n):
        """The first n molecules of a batch."""
        mine = batch["molecule"] < n
        return {key: value[:n] if key == "atoms" else value[mine] for key, value in batch.items()}

    def forward(self, batch):
        from torch_geometric.data import Batch
        data = Batch(z=batch["z"], pos=batch["positions"], batch=batch["molecule"])
        data.representation, data.vector_representation = self.representation(data)
        return self.output(data)["y"]

    @staticmethod
    def loss(outputs, target):
        return F.mse_loss(outputs, target)


class Encoder(nn.Module):
    """A sum of one table per feature."""

    def __init__(self, sizes, d):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, d) for n in sizes)

    def forward(self, x):
        return sum(table(x[:, i]) for i, table in enumerate(self.tables))


class Gine(nn.Module):
    """Peptides-func as LRGB has it, layers by GINEConv."""

    parameters_expected = 475_706

    @staticmethod
    def imports():
        import torch_geometric.nn  # noqa: F401

    def __init__(self, d=208, layers=5):
        super().__init__()
        from torch_geometric.nn import GINEConv
        self.atom_encoder = Encoder((119, 5, 12, 12, 10, 6, 6, 2, 2), d)
        self.bond_encoder = Encoder((5, 6, 2), d)
        self.gnn_layers = nn.ModuleList(
            GINEConv(nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d)))
            for _ in range(layers))
        self.post_mp = nn.Linear(d, 10)
        self.for_adam = {n for n, _ in self.named_parameters() if "_encoder." in n}
        self.for_adam.add("post_mp.weight")

    @staticmethod
    def published_name(name):
        name = name.replace(".nn.", ".model.nn.").replace("post_mp.", "post_mp.0.")
        for kind in ("atom", "bond"):
            name = name.replace(f"{kind}_encoder.tables", f"{kind}_encoder.{kind}_embedding_list")
        return name

    @staticmethod
    def first_of(batch, n):
        """The first n graphs of a batch."""
        nodes, edges = batch["graph"] < n, batch["graph"][batch["receiver"].long()] < n
        rows = {"atoms": nodes, "graph": nodes, "bonds": edges, "sender": edges,
                "receiver": edges, "nodes": slice(n)}
        return {key: value[rows[key]] for key, value in batch.items()}

    def forward(self, batch):
        from torch_geometric.nn import global_mean_pool
        edges = torch.stack((batch["sender"], batch["receiver"])).long()
        h, e = self.atom_encoder(batch["atoms"]), self.bond_encoder(batch["bonds"])
        for layer in self.gnn_layers:
            h = h + F.relu(layer(h, edges, e))
        return self.post_mp(global_mean_pool(h, batch["graph"], batch["nodes"].numel()))

    @staticmethod
    def loss(outputs, target):
        return F.binary_cross_entropy_with_logits(outputs, target)


NETWORKS = {"gotennet": {"package": GotenNet}, "gine": {"pyg": Gine}}


def reproduce(model, loss, file):
    """Asserts that loss and gradient are those of the file, in f32."""
    model.eval()
    loss().backward()
    gap = size = 0.0
    for name, p in model.named_parameters():
        expected = file["gradient." + model.published_name(name)]
        found = torch.zeros_like(p) if p.grad is None else p.grad
        gap += (found - expected).double().square().sum().item()
        size += expected.double().square().sum().item()
    value, gap = loss().item(), (gap / size) ** 0.5
    off = abs(value - file["loss"].item()) / abs(file["loss"].item())
    print(f"same network: loss {value:.6g}, off by {off:.1e}; gradient off by {gap:.1e}, relative")
    assert off < 1e-4 and gap < 1e-3, "another function than the one in the file"
    model.zero_grad(set_to_none=True)
    model.train()


def problem(case, variant, path, compiled):
    """The network; n -> its loss on the first n examples of the file's batch; reproduce()."""
    file = load_file(path, device=str(torch.get_default_device()))
    model = NETWORKS[case][variant]()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(file[model.published_name(name)])
    called = torch.compile(model.train()) if compiled else model.train()
    batch = {k.split(".", 1)[1]: v for k, v in file.items() if k.startswith("input.")}

    def loss_on(n):
        few, target = model.first_of(batch, n), file["target"][:n]
        return lambda: model.loss(called(few), target)

    return model, loss_on, lambda: reproduce(model, loss_on(len(file["target"])), file)
