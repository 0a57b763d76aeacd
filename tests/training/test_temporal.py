"""The local objective: phases from R peaks, segments by phase, and a heart whose beat both modalities show."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from training.augment import augment_along
from training.config import Augmentation
from training.temporal import (
    PHASES,
    NoCine,
    TemporalLoss,
    frames_at_phases,
    local_info_nce,
    phase_tracks,
    required,
    segments,
)

RATE = 125.0
SAMPLES = 1250


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def strip(beats, width=0.02):
    """An ECG with a QRS complex in all leads at the given seconds."""
    time = torch.arange(SAMPLES) / RATE
    qrs = sum(torch.exp(-(((time - beat) / width) ** 2)) for beat in beats)
    return torch.linspace(0.5, 1.5, 12)[:, None] * qrs


def turning(phases, rows=32):
    """Frames on which a bright spot goes round once a beat, uint8."""
    y, x = np.mgrid[:rows, :rows] - rows / 2
    spots = [(x - 8 * math.cos(2 * math.pi * p)) ** 2 + (y - 8 * math.sin(2 * math.pi * p)) ** 2 for p in phases]
    return torch.from_numpy(np.stack([np.where(spot < 20, 255, 40) for spot in spots]).astype(np.uint8))


def tokens_of(tracks, time=50):
    """A feature map that shows the phase and nothing else."""
    return torch.nn.functional.adaptive_avg_pool1d(tracks, time)


def angle(track):
    return torch.atan2(track[1], track[0]) / (2 * math.pi) % 1


def test_the_phase_runs_from_one_r_peak_to_the_next_whatever_the_rate():
    beats = [0.4, 1.2, 2.0, 2.7, 3.5, 4.4, 5.2, 6.0, 6.8, 7.7, 8.5, 9.3]
    track = phase_tracks(strip(beats)[None], RATE)[0]
    for start, end in pairwise(beats):
        middle = round((start + end) / 2 * RATE)
        assert angle(track)[middle].item() == pytest.approx(0.5, abs=0.03)
        assert angle(track)[round((start + 0.25 * (end - start)) * RATE)].item() == pytest.approx(0.25, abs=0.03)
    known = track.norm(dim=0)
    assert known[: round(0.3 * RATE)].max() == 0
    assert known[round(9.5 * RATE) :].max() == 0
    torch.testing.assert_close(known[60:1150], torch.ones(1090))


def test_a_beat_that_did_not_come_leaves_its_phase_unknown():
    track = phase_tracks(strip([0.5, 1.3, 2.1, 2.9, 4.5, 5.3, 6.1, 6.9, 7.7, 8.5, 9.3])[None], RATE)[0]
    assert track[:, round(3.1 * RATE) : round(4.3 * RATE)].abs().max() == 0
    assert track[:, round(4.7 * RATE)].norm() == pytest.approx(1.0)


def test_an_ecg_without_beats_has_no_phase():
    assert phase_tracks(torch.zeros(1, 12, SAMPLES), RATE).abs().max() == 0


def test_phases_are_moved_and_cut_with_the_recording(generator):
    """The R peaks of the augmented recording are found where its phase is zero."""
    ecg = strip(np.arange(0.4, 10, 0.8)).repeat(4, 1, 1) + 0.01  # zero only where nothing was recorded
    quiet = Augmentation(noise=0.0, wander=0.0, shorten=1.0)
    moved, tracks = augment_along(ecg, phase_tracks(ecg, RATE), quiet, RATE, generator)
    for recording, track in zip(moved, tracks, strict=True):
        again = phase_tracks(recording[None], RATE)[0]
        both = (track.norm(dim=0) > 0) & (again.norm(dim=0) > 0)
        assert both.sum() > 0.5 * SAMPLES
        close = (track * again).sum(0)[both] > math.cos(2 * math.pi * 0.03)
        assert close.float().mean() > 0.95  # all but the seam where the recording was rolled
        assert track[:, recording.abs().amax(0).nonzero().max() + 1 :].abs().max() == 0


def test_segments_are_means_over_the_beats_by_phase(generator):
    tracks = phase_tracks(strip(np.arange(0.4, 10, 0.8))[None], RATE)
    tokens = torch.randn(1, 3, 50, generator=generator)
    found, known = segments(tokens, tracks)
    sums = {phase: [] for phase in range(PHASES)}
    for time in range(50):
        cosine, sine = (tracks[0, axis, 25 * time : 25 * time + 25].mean().item() for axis in (0, 1))
        if math.hypot(cosine, sine) > 0.5:
            sums[round(math.atan2(sine, cosine) / (2 * math.pi) * PHASES) % PHASES].append(tokens[0, :, time])
    assert known[0].tolist() == [bool(members) for members in sums.values()]
    for phase, members in sums.items():
        if members:
            torch.testing.assert_close(found[0, phase], torch.stack(members).mean(0))


def test_the_local_loss_equals_a_loop_written_reference(generator):
    a, b = (normalize(torch.randn(3, PHASES, 4, generator=generator), dim=-1) for _ in range(2))
    known = torch.rand(3, PHASES, generator=generator) > 0.4
    found = local_info_nce(a, b, known, torch.tensor(1.5))
    for heart in range(3):
        rows = known[heart].nonzero().flatten().tolist()
        total = 0.0
        for query, gallery in ((a[heart], b[heart]), (b[heart], a[heart])):
            for i in rows:
                logits = [math.exp(1.5) * float(query[i] @ gallery[j]) for j in rows]
                total += math.log(sum(map(math.exp, logits))) - math.exp(1.5) * float(query[i] @ gallery[i])
        assert found[heart].item() == pytest.approx(total / (2 * len(rows)), rel=1e-4)


@pytest.mark.parametrize("phases", [0, 1])
def test_a_heart_of_unknown_phases_adds_nothing_and_breaks_nothing(generator, phases):
    a = torch.randn(1, PHASES, 4, generator=generator, requires_grad=True)
    known = (torch.arange(PHASES) < phases)[None]
    value = local_info_nce(a, a.detach(), known, torch.tensor(1.0))
    value.sum().backward()
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert a.grad.abs().max() < 1e-6


def test_segments_learn_to_find_the_frame_of_their_phase():
    torch.manual_seed(0)
    ecg = torch.stack([strip(np.arange(0.3, 10, rr)) for rr in (0.7, 0.8, 0.9, 1.0)])
    tracks = phase_tracks(ecg, RATE)
    cine = turning(np.arange(24) / 24).repeat(4, 1, 1, 1)
    loss = TemporalLoss(width=2, hidden=16, projection=8)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-2)
    values = []
    for _ in range(60):
        optimiser.zero_grad()
        value = loss(tokens_of(tracks), tracks, cine).mean()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[0] > 1.5  # ln 8 = 2.08 at chance
    assert values[-1] < 0.3


def test_frames_are_taken_at_even_phases():
    cine = torch.arange(25, dtype=torch.uint8)[None, :, None, None].expand(2, 25, 4, 4)
    assert frames_at_phases(cine)[0, :, 0, 0].tolist() == [0, 3, 6, 9, 12, 16, 19, 22]


def test_without_a_cine_the_objective_is_refused():
    with pytest.raises(NoCine, match=r"this cohort has none: set it to 0"):
        required(None)
    with pytest.raises(NoCine, match="at least 8 frames; this cohort's have 5"):
        required(torch.zeros(2, 5, 4, 4, dtype=torch.uint8))
