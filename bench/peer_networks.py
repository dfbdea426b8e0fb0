"""The peers' networks in plain PyTorch (and PyG), written from the papers and the common ports.

Each class names what Muon leaves to Adam: the first layer on raw inputs, the last layer, and maps
with one output. Parameter counts are asserted, so that the two sides run the same network.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

CLASSES = 40


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
    """The common port with both transforms; Conv1d, the faster of the two layouts."""

    parameters_expected = 3_471_473
    for_adam = {"tnet3.convs.0.weight", "conv1.weight", "fc3.weight"}

    def __init__(self, k=None, dropout=0.3):
        super().__init__()
        self.tnet3, self.tnet64 = TNet(3), TNet(64)
        self.conv1, self.norm1 = nn.Conv1d(3, 64, 1), nn.BatchNorm1d(64)
        self.conv2, self.norm2 = nn.Conv1d(64, 128, 1), nn.BatchNorm1d(128)
        self.conv3, self.norm3 = nn.Conv1d(128, 1024, 1), nn.BatchNorm1d(1024)
        self.fc1, self.fc2 = nn.Linear(1024, 512), nn.Linear(512, 256)
        self.fc3 = nn.Linear(256, CLASSES)
        self.norm4, self.norm5 = nn.BatchNorm1d(512), nn.BatchNorm1d(256)
        self.dropout = nn.Dropout(dropout)

    def forward(self, points):  # [B, N, 3] -> logits [B, classes], feature transform [B, 64, 64]
        x = points.transpose(1, 2)
        x = torch.bmm(self.tnet3(x).transpose(1, 2), x)
        x = F.relu(self.norm1(self.conv1(x)))
        transform = self.tnet64(x)
        x = torch.bmm(transform.transpose(1, 2), x)
        x = F.relu(self.norm2(self.conv2(x)))
        x = self.norm3(self.conv3(x)).max(dim=2).values
        x = F.relu(self.norm4(self.fc1(x)))
        x = F.relu(self.norm5(self.dropout(self.fc2(x))))
        return self.fc3(x), transform


def neighbours(x, k, skip=0):
    """x [B, N, C] -> rows of the batch [B, N, k], nearest first, without the `skip` first."""
    with torch.no_grad():
        square = (x * x).sum(2)
        score = torch.baddbmm(square[:, None, :], x, x.transpose(1, 2), alpha=-2)
        index = score.topk(k + skip, dim=2, largest=False).indices[:, :, skip:]
        return index + (torch.arange(x.shape[0]) * x.shape[1]).view(-1, 1, 1)


class DGCNN(nn.Module):
    """The authors' classifier with points as rows: Linear layers, faster here than Conv2d."""

    parameters_expected = 1_809_576
    for_adam = {"edges.0.weight", "fc3.weight"}

    def __init__(self, k=20, dropout=0.5):
        super().__init__()
        self.k = k
        maps = ((3, 64), (64, 64), (64, 128), (128, 256))
        self.edges = nn.ModuleList(nn.Linear(2 * a, b, bias=False) for a, b in maps)
        self.edge_norms = nn.ModuleList(nn.BatchNorm1d(b) for _, b in maps)
        self.points, self.point_norm = nn.Linear(512, 1024, bias=False), nn.BatchNorm1d(1024)
        self.fc1, self.norm1 = nn.Linear(2048, 512, bias=False), nn.BatchNorm1d(512)
        self.fc2, self.norm2 = nn.Linear(512, 256), nn.BatchNorm1d(256)
        self.fc3 = nn.Linear(256, CLASSES)
        self.dropout = nn.Dropout(dropout)

    def edge_convolution(self, linear, norm, x):  # [B, N, C] -> [B, N, out]
        b, n, c = x.shape
        near = x.reshape(b * n, c)[neighbours(x, self.k).view(-1)].view(b, n, self.k, c)
        centre = x.unsqueeze(2).expand_as(near)
        edge = torch.cat((near - centre, centre), dim=3).view(b * n * self.k, 2 * c)
        y = F.leaky_relu(norm(linear(edge)), 0.2)
        return y.view(b, n, self.k, -1).max(dim=2).values

    def forward(self, points):
        b, n, _ = points.shape
        x, levels = points, []
        for linear, norm in zip(self.edges, self.edge_norms):
            x = self.edge_convolution(linear, norm, x)
            levels.append(x)
        x = torch.cat(levels, dim=2).view(b * n, 512)
        x = F.leaky_relu(self.point_norm(self.points(x)), 0.2).view(b, n, 1024)
        x = torch.cat((x.max(dim=1).values, x.mean(dim=1)), dim=1)
        x = self.dropout(F.leaky_relu(self.norm1(self.fc1(x)), 0.2))
        x = self.dropout(F.leaky_relu(self.norm2(self.fc2(x)), 0.2))
        return self.fc3(x), None


def perceptron(inputs, hidden, outputs, act_last=False, bias_last=True):
    layers = [nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs, bias=bias_last)]
    return nn.Sequential(*layers, nn.SiLU()) if act_last else nn.Sequential(*layers)


class RegularLayer(nn.Module):
    """k neighbours of every point: gathered as [R, k, d], reduced over k, nothing scattered."""

    def __init__(self, d, last):
        super().__init__()
        self.last = last  # no logit reads the coordinates that it would move
        self.edge = perceptron(2 * d + 1, d, d, act_last=True)
        self.node = perceptron(2 * d, d, d)
        self.coordinate = perceptron(d, d, 1, bias_last=False)
        nn.init.xavier_uniform_(self.coordinate[2].weight, gain=0.001)

    def forward(self, h, x, graph):  # h [R, d], x [R, 3], graph [R, k]
        difference = x.unsqueeze(1) - x[graph]
        square = (difference * difference).sum(2, keepdim=True)
        near = h[graph]
        m = self.edge(torch.cat((h.unsqueeze(1).expand_as(near), near, square), dim=2))
        if not self.last:
            x = x + (difference * self.coordinate(m)).mean(1)
        return h + self.node(torch.cat((h, m.sum(1)), dim=1)), x


def pyg_layer(d, last):
    from torch_geometric.nn import MessagePassing

    class Layer(MessagePassing):
        """The same layer as message passing along an edge list."""

        def __init__(self):
            super().__init__(aggr="add")
            self.edge = perceptron(2 * d + 1, d, d, act_last=True)
            self.node = perceptron(2 * d, d, d)
            self.coordinate = perceptron(d, d, 1, bias_last=False)
            nn.init.xavier_uniform_(self.coordinate[2].weight, gain=0.001)

        def message(self, h_i, h_j, x_i, x_j):
            difference = x_i - x_j
            square = (difference * difference).sum(1, keepdim=True)
            m = self.edge(torch.cat((h_i, h_j, square), dim=1))
            return m if last else torch.cat((m, difference * self.coordinate(m)), dim=1)

        def forward(self, h, x, graph):  # graph [2, E]: neighbour, centre
            out = self.propagate(graph, h=h, x=x)
            if not last:
                x = x + out[:, d:] * (h.shape[0] / graph.shape[1])
            return h + self.node(torch.cat((h, out[:, :d]), dim=1)), x

    return Layer()


class EGNN(nn.Module):
    """Classifier of clouds: graph of the inputs without the point itself, constant node input."""

    parameters_expected = 127_464

    def __init__(self, k=20, d=64, layers=4, dropout=0.5, pyg=False):
        super().__init__()
        self.k, self.pyg = k, pyg
        make = pyg_layer if pyg else RegularLayer
        self.embedding = nn.Linear(1, d)
        self.layers = nn.ModuleList(make(d, i + 1 == layers) for i in range(layers))
        self.readout, self.out = nn.Linear(2 * d, d), nn.Linear(d, CLASSES)
        self.dropout = nn.Dropout(dropout)
        self.for_adam = {"embedding.weight", "out.weight"}
        self.for_adam |= {f"layers.{i}.coordinate.2.weight" for i in range(layers)}

    def forward(self, points):
        b, n, _ = points.shape
        graph = neighbours(points, self.k, skip=1).view(b * n, self.k)
        if self.pyg:
            centre = torch.arange(b * n).repeat_interleave(self.k)
            graph = torch.stack((graph.reshape(-1), centre))
        x, h = points.reshape(b * n, 3), self.embedding(torch.ones(b * n, 1))
        for layer in self.layers:
            h, x = layer(h, x, graph)
        h = h.view(b, n, -1)
        y = F.silu(self.readout(torch.cat((h.mean(1), h.max(dim=1).values), dim=1)))
        return self.out(self.dropout(y)), None


def loss_of(model, points, labels):
    logits, transform = model(points)
    loss = F.cross_entropy(logits, labels)
    if transform is None:
        return loss
    gap = torch.bmm(transform, transform.transpose(1, 2)) - torch.eye(transform.shape[1])
    return loss + 0.001 * gap.flatten(1).norm(dim=1).mean()


# name of the case -> variant -> constructor(k); the first variant is the default
NETWORKS = {
    "pointnet": {"conv1d": PointNet},
    "dgcnn": {"linear": DGCNN},
    "egnn": {"regular": EGNN, "pyg": lambda k: EGNN(k, pyg=True)},
}


def orthogonalise(m, dtype):
    x = m.to(dtype)  # one matrix or a stack of them
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(m.dtype)


class Muon:
    """K. Jordan's form on the matrices (momentum 0.95 as a moving average, Nesterov, five quintic
    steps, scale sqrt(max(1, rows / cols))), torch's Adam on the rest."""

    def __init__(self, matrices, rest, dtype, lr=0.02, momentum=0.95):
        self.matrices, self.dtype, self.lr, self.momentum = matrices, dtype, lr, momentum
        self.buffers = [torch.zeros_like(p) for p in matrices]
        self.adam = torch.optim.Adam(rest, lr=3e-4, betas=(0.9, 0.95), eps=1e-10,
                                     fused=True)

    @torch.no_grad()
    def step(self):
        for p, buffer in zip(self.matrices, self.buffers):
            if p.grad is None:
                continue
            buffer.lerp_(p.grad, 1 - self.momentum)
            m = torch.lerp(p.grad, buffer, self.momentum).flatten(1)
            scale = max(1.0, m.shape[0] / m.shape[1]) ** 0.5
            p.add_(orthogonalise(m, self.dtype).view_as(p), alpha=-self.lr * scale)
        self.adam.step()


def split(model):
    matrices, rest = [], []
    for name, p in model.named_parameters():
        (matrices if p.dim() >= 2 and name not in model.for_adam else rest).append(p)
    return matrices, rest
