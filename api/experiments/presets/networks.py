"""Presets about units and layers: dropout, normalization, convolution; and all techniques side by side."""

from api.experiments.presets.base import EIGHT_SEEDS, THREE_SEEDS, build_preset, build_variant
from models.techniques import CATALOGUE

NETWORKS = (
    build_preset(
        "dropout-vs-none",
        title="The same network without and with dropout 0.5 after each hidden layer",
        expect="Test accuracy may be equal, and the gap in accuracy with it. Test loss and the gap in loss "
        "are lower with dropout. The accuracy during training is below that of the same images "
        "measured afterwards, because units are dropped.",
        # Keras's validation_split takes the last rows, and so does the experiment this one repeats.
        base={"dataset": {"validation_split": "last"}},
        variants=[build_variant("without Dropout"), build_variant("with Dropout", dropout={"rate": 0.5})],
        baseline="without Dropout",
        seeds=[0],
        split_per_seed=False,
    ),
    build_preset(
        "batch-normalization",
        title="Batch normalization, alone and with dropout, compared with none",
        expect="Faster early epochs with batch normalization. As a regularizer it is mild; dropout after it "
        "lowers loss and gap further.",
        variants=[
            build_variant("none"),
            build_variant("batch normalization", batch_normalization={}),
            build_variant("batch normalization + dropout", batch_normalization={}, dropout={"rate": 0.5}),
        ],
    ),
    build_preset(
        "convolution",
        title="Regularization of a convolutional network: two forms of dropout, batch normalization and "
        "augmentation compared with none",
        expect="Even without regularization it is better than the plain fully connected network. Each of the "
        "four techniques lowers test loss and the gap in loss, batch normalization and augmentation "
        "most.",
        base={"model": {"family": "cnn", "filters": [32, 64], "kernel_size": 3, "hidden_units": [128]}},
        variants=[
            build_variant("none"),
            build_variant("spatial dropout", spatial_dropout={"rate": 0.2}),
            build_variant("dropout", dropout={"rate": 0.5}),
            build_variant("batch normalization", batch_normalization={}),
            build_variant("augmentation", augmentation={}),
        ],
        seeds=THREE_SEEDS,
    ),
    build_preset(
        "width-path",
        title="L2 and dropout compared with none in one hidden layer of 4 to 1,024 units",
        expect="With few units dropout costs accuracy and loss, because the network is too small already; in "
        "wide networks both techniques lower the test loss. The gain of dropout in test loss crosses zero "
        "in between.",
        base={"dataset": {"train_samples": 1000}, "training": {"epochs": 20}},
        variants=[
            build_variant("none"),
            build_variant("L2", l2={"factor": 1e-3}),
            build_variant("dropout", dropout={"rate": 0.5}),
        ],
        seeds=EIGHT_SEEDS,
        axes=[{"field": "/model/hidden_units", "values": [[4], [16], [64], [256], [1024]]}],
    ),
    build_preset(
        "all-techniques",
        title="Each technique of a fully connected network, at its default strength, compared with none",
        expect="The effect of each technique on accuracy, loss and gap, and its cost in seconds; only early "
        "stopping saves time.",
        variants=[build_variant("none")]
        + [
            build_variant(technique.about.title, **{name: {}})
            for name, technique in CATALOGUE.items()
            if "mlp" in technique.model_families
        ],
    ),
)
