"""Eager PyTorch with fused Adam: the usual loop over shuffled batches. Driven by bench/training.py."""

import time

import torch
from torch import nn

from bench.child import serve
from bench.workload import (
    BATCH_SIZE,
    LAYERS,
    LEARNING_RATE,
    dataset_and_threads,
    floats,
    load_split,
    seed_spec,
)


class Contestant:
    """The network and its examples, between epochs."""

    def __init__(self, dataset: str) -> None:
        train = load_split(seed_spec(dataset)).train
        self._images = torch.from_numpy(floats(train.images))
        self._labels = torch.from_numpy(train.labels).long()
        self._network = _network()
        self._loss = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE, fused=True)

    def epoch(self) -> float:
        """Train one epoch and sum up loss and hits, as the others do; returns its seconds."""
        began = time.perf_counter()
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
        return time.perf_counter() - began


def _network() -> nn.Sequential:
    first, *hidden, last = LAYERS
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(first, units), nn.ReLU()]
        first = units
    return nn.Sequential(*layers, nn.Linear(first, last))


def main() -> None:
    """Answer the parent until it hangs up."""
    arguments = dataset_and_threads("One epoch for each line of input; prints its seconds.").parse_args()
    torch.set_num_threads(arguments.threads)
    serve(Contestant(arguments.dataset).epoch)


if __name__ == "__main__":
    main()
