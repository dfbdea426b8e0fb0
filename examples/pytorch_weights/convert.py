"""A PyTorch checkpoint as safetensors, for Basin and for anything else that reads the format.

    python convert.py pointnet.pth pointnet.safetensors      (needs torch and safetensors)
    train_modelnet --eval-only --weights pointnet.safetensors --model pointnet --data DIR

Names and shapes stay: PointNet, DGCNN and EGNN are loaded by the names of their common PyTorch code,
a "module." in front of all of them (DataParallel) included; a name that is missing, left over or of
another shape is an error that says so. load_state("pointnet.safetensors", state) does it in C++, and
a file of save_state() goes back with safetensors.torch.load_file and load_state_dict.
"""
import sys

import torch
from safetensors.torch import save_file


def convert(source, target):
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)  # runs no code of the file
    for key in ("model_state_dict", "state_dict", "model"):  # training scripts wrap it
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    # clone: safetensors refuses tensors that share memory.
    save_file({name: t.detach().contiguous().clone() for name, t in checkpoint.items()}, target)


if __name__ == "__main__":
    convert(sys.argv[1], sys.argv[2])
