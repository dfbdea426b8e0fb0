#!/bin/sh
# Makes a virtual environment with the peers of bench/compare.sh: PyTorch, PyTorch Geometric, the
# packages gotennet and DeepXDE; and those of bench/peer_curvature.py, curvlinops and
# hessian-eigenthings. Nothing of Basin needs it, and no build runs it. gotennet is installed
# without its requirements: it asks for extensions of PyTorch that have no wheels for a current one
# and for programs of its training that the network does not need; bench/peer_graphs.py lends the two
# functions of those extensions that it calls.
# usage: peer_setup.sh [DIR]        DIR: build/peers if not given; then PYTHON=DIR/bin/python compare.sh
set -eu
dir=${1:-build/peers}
python3 -m venv "$dir"
pip() { "$dir/bin/python" -m pip install -q "$@"; }
pip "torch>=2.8" torch_geometric safetensors numpy scipy
pip omegaconf hydra-core lightning torchmetrics ase
pip --no-deps gotennet==1.1.2
pip deepxde
pip h5py curvlinops-for-pytorch==3.0.1 hessian-eigenthings==1.0.0a5
"$dir/bin/python" - <<'END'
import importlib.metadata as metadata
for name in ("torch", "torch_geometric", "gotennet", "deepxde",
             "curvlinops-for-pytorch", "hessian-eigenthings"):
    print(name, metadata.version(name))
END
