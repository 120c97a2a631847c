"""Eager PyTorch with fused Adam: the usual loop over shuffled batches. Driven by bench/training.py."""

import time
from itertools import pairwise

import torch
from torch import nn

from bench.child import serve_epochs
from bench.harness import parse_arguments
from bench.workload import BATCH_SIZE, LAYERS, LEARNING_RATE, build_spec, load_split, scale_pixels


class Contestant:
    """The network and its examples, between epochs."""

    def __init__(self, dataset: str) -> None:
        train = load_split(build_spec(dataset)).train
        self._images = torch.from_numpy(scale_pixels(train.images))
        self._labels = torch.from_numpy(train.labels).long()
        layers: list[nn.Module] = []
        for inputs, units in pairwise(LAYERS):
            layers += [nn.Linear(inputs, units), nn.ReLU()]
        self._network = nn.Sequential(*layers[:-1])
        self._loss = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE, fused=True)

    def train_epoch(self) -> float:
        """Train one epoch and sum up loss and hits, as the others do; returns its seconds."""
        started = time.perf_counter()
        loss_sum, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for batch in torch.randperm(len(self._labels)).split(BATCH_SIZE):
            images, labels = self._images[batch], self._labels[batch]
            self._optimizer.zero_grad()
            logits = self._network(images)
            loss = self._loss(logits, labels)
            loss.backward()
            self._optimizer.step()
            loss_sum += loss.detach() * len(batch)
            hits += (logits.argmax(dim=1) == labels).sum()
        return time.perf_counter() - started


def main() -> None:
    """Train an epoch for each line of input."""
    arguments = parse_arguments(__doc__, dataset=None, threads=1)
    torch.set_num_threads(arguments.threads)
    serve_epochs(Contestant(arguments.dataset).train_epoch)
