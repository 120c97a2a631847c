"""Eager PyTorch with fused Adam: the usual loop over shuffled batches. Driven by bench/training.py."""

import time
from itertools import pairwise

import torch
from torch import nn

from bench.child import serve_epochs
from bench.harness import parse_arguments
from bench.workload import BATCH_SIZE, LAYERS, LEARNING_RATE, build_spec, load_split, scale_pixels


def main() -> None:
    """Train an epoch for each line of input."""
    arguments = parse_arguments(__doc__, dataset=None, threads=1)
    torch.set_num_threads(arguments.threads)
    train = load_split(build_spec(arguments.dataset)).train
    images, labels = torch.from_numpy(scale_pixels(train.images)), torch.from_numpy(train.labels).long()
    layers: list[nn.Module] = []
    for inputs, units in pairwise(LAYERS):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    compute_loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)

    def train_epoch() -> float:
        """Train one epoch and sum up loss and hits, as the others do; returns its seconds."""
        started = time.perf_counter()
        loss_sum, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for batch in torch.randperm(len(labels)).split(BATCH_SIZE):
            optimizer.zero_grad()
            logits = network(images[batch])
            loss = compute_loss(logits, labels[batch])
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(batch)
            hits += (logits.argmax(dim=1) == labels[batch]).sum()
        return time.perf_counter() - started

    serve_epochs(train_epoch)
