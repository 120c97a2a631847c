"""Predictions of trained models over HTTP."""
