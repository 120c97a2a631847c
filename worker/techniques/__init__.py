"""What the catalogue's techniques do in training. Each part of a step has a module:

noise (layers that disturb the flow), loss (targets and penalties), steps (what happens to gradients and to
weights), stopping (after an epoch). Normalization is stock Keras, in worker/network.py.
"""
