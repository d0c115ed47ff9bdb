"""Phantom tomograms with known truth: where tests and the demo enter in place of real data."""

from tomopick.simulate.imaging import Scope
from tomopick.simulate.runs import simulate_run, simulate_runs
from tomopick.simulate.variety import varied

__all__ = ["Scope", "simulate_run", "simulate_runs", "varied"]
