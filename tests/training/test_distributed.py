"""Two real processes compute what one would on the rows of both."""

from __future__ import annotations

import os
import socket

import pytest
import torch
from torch import multiprocessing, nn
from torch.nn.functional import normalize

from training import distributed
from training.accumulate import accumulate
from training.losses import ContrastiveLoss, Pair

ROWS = 6
MICRO_BATCHES = (3, 2)
"""Of the three rows of each process: all at once, and in two parts."""
PAIRS = [Pair(first="ecg", second="ed", weight=1.0)]


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.ecg = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, affine=False).eval(), nn.GELU(), nn.Linear(8, 4))
        self.ed = nn.Linear(3, 4)
        self.loss = ContrastiveLoss(PAIRS, soft_targets=0.5)

    def embed(self, batch):
        return {name: normalize(getattr(self, name)(batch[name]), dim=-1) for name in ("ecg", "ed")}


def problem():
    """A network and a batch in which two visits of one participant lie in different halves."""
    torch.manual_seed(3)
    net = Towers()
    batch = {"ecg": torch.randn(ROWS, 5), "ed": torch.randn(ROWS, 3)}
    return net, batch, torch.tensor([0, 1, 2, 3, 0, 4]), torch.randn(ROWS, 2)


def step(net, batch, participants, phenotypes, micro_batch):
    """One loss over the rows of all processes; alone, over the rows of this one."""

    def objective(embedded):
        gathered = {name: distributed.gather(tensor) for name, tensor in embedded.items()}
        losses = net.loss(gathered, distributed.gather(participants), distributed.gather(phenotypes))
        return net.loss.total(losses)

    value = accumulate(net.embed, objective, batch, micro_batch)
    distributed.average_gradients(net)
    return value


def worker(rank, port, folder):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    net, batch, participants, phenotypes = problem()
    own = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    with distributed.joined(torch.device("cpu")):
        if rank == 1:  # the start is the first process's
            nn.init.zeros_(net.ed.weight)
            net.ecg[1].running_mean += 1
        distributed.broadcast([*net.parameters(), *net.buffers()])
        mine = {name: tensor[own] for name, tensor in batch.items()}
        told = {"rank": distributed.rank(), "world": distributed.world()}
        for micro_batch in MICRO_BATCHES:
            net.zero_grad()
            value = step(net, mine, participants[own], phenotypes[own], micro_batch)
            gradients = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
            told[micro_batch] = {"loss": value, "gradients": gradients}
    torch.save(told, folder / f"{rank}.pt")


def test_loss_and_gradients_of_two_processes_are_those_of_one_on_all_rows(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(worker, args=(port, tmp_path), nprocs=2)
    net, batch, participants, phenotypes = problem()
    value = step(net, batch, participants, phenotypes, ROWS)
    for rank in range(2):
        told = torch.load(tmp_path / f"{rank}.pt")
        assert (told["rank"], told["world"]) == (rank, 2)
        for micro_batch in MICRO_BATCHES:
            assert told[micro_batch]["loss"].item() == pytest.approx(value.item(), rel=1e-6)
            for name, parameter in net.named_parameters():
                found = told[micro_batch]["gradients"][name]
                torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_a_process_alone_is_the_first_of_one_and_says_nothing():
    with distributed.joined(torch.device("cpu")):
        assert (distributed.rank(), distributed.world(), distributed.local_rank()) == (0, 1, 0)
        rows = torch.randn(3, 2)
        assert distributed.gather(rows) is rows
