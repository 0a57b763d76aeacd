"""Temporal: what the ECG says at one phase of the beat against what the heart looks like at that phase.

The local objective of PTACL (arXiv 2506.20683, MICCAI 2025), beside the global one between participants: within one
heart, segments of the ECG have to find the cine frame of their phase, and frames their segment. The phase runs from one
R peak to the next, as in ECGFlowCMR (arXiv 2601.20904); a retrospectively gated cine is stretched in the same way.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.ecg.beats import r_peaks
from models.ecg.recording import Recording
from training.heads import Projection
from training.losses import INITIAL_LOG_SCALE, MAX_LOG_SCALE

PHASES = 8
"""Segments of one beat (ours): about 100 ms each, and so many frames that a beat costs."""

LONGEST_INTERVAL = 1.5
"""In median R-R intervals: beyond it a beat was missed or did not come, and the phase is not known (ours)."""

SHARPEST = 0.5
"""Length of the mean phase vector below which a token has no phase: it covers 0.6 of a beat or more (ours)."""

CHANNELS = (16, 32, 64)


class NoCine(ValueError):
    """The temporal objective was asked for on a cohort without cines."""


def required(cine: Tensor | None) -> Tensor:
    """The cine, (n, frames, rows, columns), if this objective can be had with it.

    Raises
    ------
    NoCine
        If there is none, or if it has fewer frames than `PHASES`.
    """
    if cine is None:
        raise NoCine("contrast.temporal needs a cine of every participant, and this cohort has none: set it to 0")
    if cine.shape[1] < PHASES:
        raise NoCine(f"contrast.temporal needs cines of at least {PHASES} frames; this cohort's have {cine.shape[1]}")
    return cine


def frames_at_phases(cine: Tensor) -> Tensor:
    """(batch, frames, rows, columns) over one beat, from the R peak on, to its `PHASES` frames at even phases."""
    return cine[:, [round(phase * cine.shape[1] / PHASES) for phase in range(PHASES)]]


def phase_tracks(ecg: Tensor, sampling_rate: float) -> Tensor:
    """Where in its beat each sample lies, from the R peaks that `models.ecg.beats` finds.

    Parameters
    ----------
    ecg : (n, 12, samples) millivolts, preprocessed, at `sampling_rate` hertz

    Returns
    -------
    (n, 2, samples)
        Cosine and sine of the phase, which is 0 at an R peak; both 0 where it is not known.
    """
    tracks = torch.zeros(len(ecg), 2, ecg.shape[-1])
    for row in torch.isfinite(ecg).all(-1).all(-1).nonzero().flatten().tolist():  # others are in no part
        track, signal = tracks[row], ecg[row]
        recording = Recording(signal=signal.double().cpu().numpy(), sampling_rate=sampling_rate)
        _fill(track, r_peaks(recording))
    return tracks


def _fill(track: Tensor, peaks: NDArray[np.int64]) -> None:
    intervals = np.diff(peaks)
    for (start, end), interval in zip(pairwise(peaks.tolist()), intervals.tolist(), strict=True):
        if interval <= LONGEST_INTERVAL * np.median(intervals):
            angle = 2 * math.pi * torch.arange(interval) / interval
            track[:, start:end] = torch.stack((angle.cos(), angle.sin()))


def segments(tokens: Tensor, tracks: Tensor) -> tuple[Tensor, Tensor]:
    """Mean token of each phase over all beats of a recording.

    Parameters
    ----------
    tokens : (batch, width, time)
    tracks : (batch, 2, samples) of the same recordings

    Returns
    -------
    segments, known
        (batch, PHASES, width), and (batch, PHASES) bool: phases at which some token lies.
    """
    cosine, sine = functional.adaptive_avg_pool1d(tracks, tokens.shape[-1]).unbind(1)
    phase = (torch.atan2(sine, cosine) / (2 * math.pi) * PHASES).round().long() % PHASES
    sharp = torch.hypot(cosine, sine) > SHARPEST
    members = functional.one_hot(phase, PHASES) * sharp.unsqueeze(-1)  # (batch, time, PHASES)
    count = members.sum(1)
    mean = (tokens @ members.to(tokens)).transpose(1, 2) / count.clamp(min=1).unsqueeze(-1)
    return mean, count > 0


def local_info_nce(a: Tensor, b: Tensor, known: Tensor, log_scale: Tensor) -> Tensor:
    """`losses.info_nce` within each heart, over the phases that are known.

    Parameters
    ----------
    a, b : (batch, phases, d) unit vectors
    known : (batch, phases) bool
    log_scale : scalar, clamped at `MAX_LOG_SCALE`

    Returns
    -------
    (batch,) float32, also inside autocast; 0 for a heart of which at most one phase is known.
    """
    with torch.autocast(a.device.type, enabled=False):
        logits = log_scale.float().clamp(max=MAX_LOG_SCALE).exp() * (a.float() @ b.float().transpose(1, 2))
        candidate = known[:, None, :] & known[:, :, None]
        logits = logits.masked_fill(~candidate, torch.finfo(torch.float32).min)
        both = logits.log_softmax(-1).diagonal(dim1=1, dim2=2) + logits.log_softmax(1).diagonal(dim1=1, dim2=2)
        return -(both * known).sum(-1) / (2 * known.sum(-1).clamp(min=1))


class FrameEncoder(nn.Module):
    """A small 2-D network over one cine frame; it normalises each frame by itself."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, CHANNELS[0], 7, 4, 3)]
        for into, out in pairwise(CHANNELS):
            layers += [nn.GroupNorm(1, into), nn.GELU(), nn.Conv2d(into, out, 3, 2, 1)]
        self.body = nn.Sequential(*layers, nn.GroupNorm(1, CHANNELS[-1]), nn.GELU())
        self.size = 2 * CHANNELS[-1]

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, rows, columns) in 0 … 1 to (batch, size)."""
        x = self.body(frames.unsqueeze(1)).flatten(2)
        return torch.cat((x.mean(-1), x.amax(-1)), 1)


class TemporalLoss(nn.Module):
    """Projections of tokens and frames into a space of their own, and `local_info_nce` between them."""

    def __init__(self, width: int, hidden: int, projection: int) -> None:
        super().__init__()
        self.frames = FrameEncoder()
        self.of_frame = Projection(self.frames.size, hidden, projection)
        self.of_segment = Projection(width, hidden, projection)
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))

    def forward(self, tokens: Tensor, tracks: Tensor, cine: Tensor) -> Tensor:
        """The loss of each heart, (batch,).

        Parameters
        ----------
        tokens : (batch, width, time) of the ECG encoder
        tracks : (batch, 2, samples) of the same recordings, augmented alike
        cine : (batch, frames, rows, columns) uint8 over one beat, from the R peak on
        """
        of_phase, known = segments(tokens, tracks)
        frames = frames_at_phases(cine)
        seen = self.of_frame(self.frames(frames.flatten(0, 1).float() / 255.0)).unflatten(0, frames.shape[:2])
        return local_info_nce(self.of_segment(of_phase), seen, known, self.log_scale)
