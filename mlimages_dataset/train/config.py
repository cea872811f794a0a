"""A training run: one TOML file, one frozen configuration, a docstring for every field.

The file decides what is learnt and how; the command's options name files. `packaged:NAME` has the papers' settings.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Self

from mlimages_dataset.core.config import check_at_least, check_below_one, check_positive, check_share
from mlimages_dataset.core.locations import Location  # noqa: TC001 - the decoder resolves it
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.train.task_options import Detection, Segmentation


class Device(enum.Enum):
    """The device of a rank."""

    AUTO = "auto"
    """A GPU if there is one, otherwise the CPU."""
    CPU = "cpu"
    CUDA = "cuda"


class Precision(enum.Enum):
    """The type of convolutions and matrix products; parameters are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    """With loss scaling."""


class LossName(enum.Enum):
    """The names of losses.

    Attributes:
        keys: keys of `[loss]` that only some losses take: a loss with `pair_counts` needs it; one with `sum_classes` is
            a mean over the classes by default.
    """

    _value_: str
    keys: frozenset[str]

    def __new__(cls, value: str, *keys: str) -> Self:
        """Return the loss with the name `value` in a run file."""
        name = object.__new__(cls)
        name._value_ = value
        name.keys = frozenset(keys)
        return name

    RELEASED = "released"
    """The weighted sigmoid cross-entropy of Wu et al. 2019 as the published code computes it, a sum over classes."""
    PAPER = "paper"
    """The same, literally as in equations 1 and 2: a mean over classes. It does not learn at the paper's rate."""
    BINARY_CROSS_ENTROPY = "binary-cross-entropy", "sum_classes"
    CO_BINARY_CROSS_ENTROPY = "co-binary-cross-entropy", "sum_classes", "pair_counts", "relatives_concur"
    """The same without absent classes that are often labelled together with a present one (after Akiba et al. 2018)."""
    FOCAL = "focal", "sum_classes"
    ASYMMETRIC = "asymmetric", "sum_classes"
    SOFTMAX = "softmax"
    """Cross-entropy over all classes, for images with one label."""
    CONCURRENT_SOFTMAX = "concurrent-softmax", "pair_counts", "relatives_concur"
    """The softmax of Peng et al. 2020 (4.1.1), in which classes that often co-occur do not suppress each other."""


class TaskName(enum.Enum):
    """What a run learns."""

    MULTI_LABEL = "multi-label"
    """Which classes an image shows; with the loss `softmax` the one class that it shows."""
    DETECTION = "detection"
    """Where they are: boxes and their classes, by Faster R-CNN."""
    SEGMENTATION = "segmentation"
    """The class of every pixel, by DeepLab."""

    @property
    def losses(self) -> tuple[LossName, ...]:
        """The losses of the task: a detector's are of the classes of its boxes, beside those of the boxes."""
        if self is TaskName.SEGMENTATION:
            return (LossName.SOFTMAX,)
        of_images = (LossName.RELEASED, LossName.PAPER, LossName.ASYMMETRIC)
        return tuple(name for name in LossName if self is TaskName.MULTI_LABEL or name not in of_images)


class Unknown(enum.Enum):
    """How the loss counts classes that an image's labels do not list."""

    ABSENT = "absent"
    """As absent, as in the papers, whose labels mostly list present classes."""
    IGNORED = "ignored"
    """Not at all: they add neither loss nor gradient."""


class SamplerName(enum.Enum):
    """The order in which images are drawn."""

    SHUFFLED = "shuffled"
    """Every image once per epoch."""
    BLOCKS = "blocks"
    """The same, but images that are stored together are read together, for slow disks and object stores."""
    CLASS_AWARE = "class-aware"
    """Draw a class uniformly, then an image of it."""
    REPEAT_FACTOR = "repeat-factor"
    """Every image; those of rare classes several times per epoch."""
    SOFT_BALANCE = "soft-balance"
    """Between shuffled and class-aware (Peng et al. 2020, equations 6 to 8)."""


class Decay(enum.Enum):
    """How the learning rate falls after the warm-up."""

    STEP = "step"
    """By a factor every `decay_epochs` epochs."""
    COSINE = "cosine"
    """Along half a cosine to zero at the last step."""
    POLY = "poly"
    """As a power of the share of the run that is left, to zero at the last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The input data.

    Attributes:
        images: folder of image shards, or of image files.
        labels: folder of the table to train on: `labels`, or `regions` for detection; for segmentation the folder of
            label maps, or a file that lists the images beside it.
        vocabulary: folder of the vocabulary whose classes the labels name.
        validation_images: folder of images to evaluate on; by default `images`.
        validation_labels: the same to evaluate on; without it there is no evaluation.
        validation_view: the part of a picture that evaluation uses.
        workers: decoding workers per process; 0 decodes in the training process.
        prefetch: batches that each worker decodes ahead.
        bad_image_share: the run stops if more than this share of an epoch's images cannot be decoded.
        streamed: read shards in long stretches rather than picture by picture, for slow disks and object stores; needs
            the sampler `blocks` in every phase.
        upright: turn pictures as their EXIF says, in training, evaluation and prediction; the recipe does not. Not for
            detection and segmentation, whose labels are of pixels as they are stored.
    """

    images: Location | None = None
    labels: Location | None = None
    vocabulary: Location | None = None
    validation_images: Location | None = None
    validation_labels: Location | None = None
    validation_view: EvaluationView = EvaluationView.CROP80
    workers: int = 4
    prefetch: int = 4
    bad_image_share: float = 0.01
    streamed: bool = False
    upright: bool = False

    def __post_init__(self) -> None:
        check_at_least("workers", self.workers, 0)
        check_at_least("prefetch", self.prefetch, 1)
        check_share("bad_image_share", self.bad_image_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The network.

    Attributes:
        name: `resnet101_released`, a network of torchvision, or `timm/` and a network of timm.
        classes: expected number of classes, for a plan without a vocabulary; 0 for any. Training takes the number from
            the vocabulary.
        weights: initial weights: a checkpoint, safetensors, a state dict of torchvision or timm, or a TensorFlow
            checkpoint; with another vocabulary, all except the head are used.
        batch_norm_momentum: share of a new batch in the running statistics; 0.1 is the paper's decay of 0.9.
        batch_norm_epsilon: constant added to the variance.
        sync_batch_norm: batch statistics over all ranks; needs GPUs.
        frozen_statistics: batch normalisation always uses its running statistics.
    """

    name: str = "resnet101"
    classes: int = 0
    weights: Location | None = None
    batch_norm_momentum: float = 0.1
    batch_norm_epsilon: float = 1e-3
    sync_batch_norm: bool = False
    frozen_statistics: bool = False

    def __post_init__(self) -> None:
        check_at_least("classes", self.classes, 0)
        check_share("batch_norm_momentum", self.batch_norm_momentum)
        check_positive("batch_norm_epsilon", self.batch_norm_epsilon)
        if self.sync_batch_norm and self.frozen_statistics:
            raise ValueError("sync_batch_norm has no effect with frozen_statistics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss.

    Attributes:
        name: name of the loss.
        positive_weight: for `released` and `paper`: eta of equation 1.
        absent_class_rate: for `released` and `paper`: probability that a class without positives in a batch is learnt.
        negatives_per_positive: for `paper`: negatives kept for each positive of a class.
        presence_threshold: for `released`, `paper` and losses with `pair_counts`: least confidence of a present label.
        unknown: how classes count that an image's labels do not list.
        absent_unless_listed: sources that list every class of an image: their unlisted classes are absent, even if
            `unknown` is `ignored`.
        pair_counts: for `concurrent-softmax` and `co-binary-cross-entropy`: the `pair_counts` table with their rates:
            for a detector that of `mlimages-build region-pairs`, for whole images that of `cooccurrence`.
        relatives_concur: for losses with `pair_counts`: the rate of a class and its ancestors is 1, as the text under
            equation 5 has it; false: 0, as section 4.1.1 has it. Unless stated, true for `concurrent-softmax`.
        prior_bias: initialise a new head's bias with the log-odds of each class's share of the training images, so that
            classes without positives are not predicted with probability one half.
        sum_classes: for the binary cross-entropies, `focal` and `asymmetric`: sum over the classes instead of their
            mean, so that a good learning rate does not depend on the number of classes.
    """

    name: LossName = LossName.RELEASED
    positive_weight: float = 12.0
    absent_class_rate: float = 0.1
    negatives_per_positive: int = 5
    presence_threshold: float = 0.7
    unknown: Unknown = Unknown.ABSENT
    absent_unless_listed: tuple[str, ...] = ()
    pair_counts: Location | None = None
    relatives_concur: bool | None = None
    prior_bias: bool = True
    sum_classes: bool = False

    def __post_init__(self) -> None:
        check_positive("positive_weight", self.positive_weight)
        check_share("absent_class_rate", self.absent_class_rate)
        check_share("presence_threshold", self.presence_threshold)
        check_positive("presence_threshold", self.presence_threshold)
        check_at_least("negatives_per_positive", self.negatives_per_positive, 1)
        if self.absent_unless_listed and self.unknown is Unknown.ABSENT:
            raise ValueError('absent_unless_listed has no effect: write unknown = "ignored" beside it, or leave it out')
        if "pair_counts" in self.name.keys and self.pair_counts is None:
            raise ValueError(f"pair_counts is missing: {self.name.value} takes its rates from such a table")
        for key in sorted({"pair_counts", "relatives_concur", "sum_classes"} - self.name.keys):
            if getattr(self, key) is not self.__dataclass_fields__[key].default:
                raise ValueError(f"{key} has no effect on the loss {self.name.value}: leave it out")

    @property
    def lets_relatives_concur(self) -> bool:
        """Whether a class and its ancestors have the rate 1: stated, or of the loss (docs/detection.md has figures)."""
        return self.name is LossName.CONCURRENT_SOFTMAX if self.relatives_concur is None else self.relatives_concur

    @property
    def is_mean_over_classes(self) -> bool:
        """Whether the loss is a mean over the classes that could be a sum."""
        return "sum_classes" in self.name.keys and not self.sum_classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: share of the last update that is kept in the next.
        nesterov: use Nesterov momentum.
        weight_decay: L2 penalty on weights.
        decay_norm_and_bias: apply weight decay to normalisation layers and biases too.
        clip_norm: longest norm of the gradient; 0 for no limit.
        average_decay: decay of an exponential moving average of the parameters, which is evaluated; 0 for no average.
        layer_rates: factors of the learning rate by prefix of parameter names, of which the longest counts; 0 freezes.
    """

    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = False
    clip_norm: float = 0.0
    average_decay: float = 0.0
    layer_rates: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        check_below_one("momentum", self.momentum)
        check_below_one("average_decay", self.average_decay)
        for name in ("weight_decay", "clip_norm"):
            check_at_least(name, getattr(self, name), 0)
        for name, factor in self.layer_rates:
            check_at_least(f"layer_rates.{name}", factor, 0)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The learning rate: linear scaling, warm-up, decay (Wu et al. 2019, section 4.1.3).

    Attributes:
        learning_rate: for `batch_size` images; a batch k times as large has k times the rate.
        batch_size: batch size to which `learning_rate` applies.
        warmup_epochs: epochs of warm-up.
        warmup_start: learning rate of the first warm-up epoch, for any batch size.
        warmup_factor: growth of the rate from one warm-up epoch to the next, up to the scaled rate.
        decay: how the rate falls after the warm-up.
        decay_factor: for `step`: factor of the rate at each decay.
        decay_epochs: for `step`: epochs between decays, counted from the first epoch of the run.
        decay_after: for `step`: epochs after which the rate decays, in place of `decay_epochs`.
        decay_steps: for `step`: steps after which the rate decays, in place of both.
        power: for `poly`: the power.
        staircase: the rate changes between epochs only, as in the paper; otherwise at every step.
    """

    learning_rate: float = 0.01
    batch_size: int = 512
    warmup_epochs: int = 0
    warmup_start: float = 0.01
    warmup_factor: float = 1.297
    decay: Decay = Decay.STEP
    decay_factor: float = 0.1
    decay_epochs: int = 25
    decay_after: tuple[int, ...] = ()
    decay_steps: tuple[int, ...] = ()
    power: float = 0.9
    staircase: bool = True

    def __post_init__(self) -> None:
        for name in ("learning_rate", "warmup_start", "warmup_factor", "decay_factor"):
            check_positive(name, getattr(self, name))
        check_at_least("batch_size", self.batch_size, 1)
        check_at_least("warmup_epochs", self.warmup_epochs, 0)
        check_at_least("decay_epochs", self.decay_epochs, 1)
        check_positive("power", self.power)
        for name, given in (("decay_after", self.decay_after), ("decay_steps", self.decay_steps)):
            if list(given) != sorted(set(given)) or min(given, default=1) < 1:
                raise ValueError(f"{name} = {list(given)} do not ascend from 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Settings that hold from an epoch on, until the next phase.

    Attributes:
        first_epoch: first epoch of the phase, counted from 0.
        batch_size: images per step, over all ranks and accumulated passes.
        image_size: side of the square that the network sees, in pixels; for detection the short side of an image.
        sampler: the order of images.
        balance: for `soft-balance`: 0 (class frequencies as they are), 1 (uniform) or more; lambda of Peng et al. 2020.
        block_images: for `blocks`: number of neighbouring images in a block; blocks are shuffled.
        blocks_of_window: for `blocks`: consecutive blocks whose images are shuffled together; with `streamed`, each
            worker holds this many in memory.
    """

    first_epoch: int = 0
    batch_size: int = 4096
    image_size: int = 224
    sampler: SamplerName = SamplerName.SHUFFLED
    balance: float = 0.7
    block_images: int = 256
    blocks_of_window: int = 16

    def __post_init__(self) -> None:
        check_at_least("first_epoch", self.first_epoch, 0)
        check_at_least("batch_size", self.batch_size, 1)
        check_at_least("image_size", self.image_size, 1)
        check_at_least("balance", self.balance, 0)
        check_at_least("block_images", self.block_images, 1)
        check_at_least("blocks_of_window", self.blocks_of_window, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the run is computed; this changes what is learnt only by rounding.

    Attributes:
        device: GPU or CPU.
        precision: type of convolutions and matrix products.
        channels_last: images in memory as (B, H, W, C), which convolutions on tensor cores and bfloat16 CPUs prefer.
        compile: compile the network with torch.compile.
        fused_loss: on a GPU, compute the loss of ML-Images with compiled kernels, in one pass over its entries.
        images_per_pass: images per forward and backward pass of a rank, whose share of a batch may need several passes;
            0 for one pass.
        threads: CPU threads of each rank; 0 for torch's default.
        deterministic: refuse operations whose results vary in the last bits.
        timeout_seconds: seconds that ranks wait for one that does not answer.
        bucket_megabytes: gradients are summed over ranks in buckets of this size while the backward pass goes on.
    """

    device: Device = Device.AUTO
    precision: Precision = Precision.BFLOAT16
    channels_last: bool = True
    compile: bool = False
    fused_loss: bool = False
    images_per_pass: int = 0
    threads: int = 0
    deterministic: bool = False
    timeout_seconds: int = 600
    bucket_megabytes: float = 25.0

    def __post_init__(self) -> None:
        check_at_least("images_per_pass", self.images_per_pass, 0)
        check_at_least("threads", self.threads, 0)
        check_at_least("timeout_seconds", self.timeout_seconds, 1)
        check_positive("bucket_megabytes", self.bucket_megabytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Which checkpoints are saved and kept; the last one always is.

    Attributes:
        every_steps: steps between checkpoints; 0 saves at the end of epochs only.
        keep: number of newest checkpoints to keep.
        best: validation measure whose best checkpoint is also kept.
        asynchronous: continue training while a copy is written.
    """

    every_steps: int = 1000
    keep: int = 3
    best: str = "f1@5"
    asynchronous: bool = True

    def __post_init__(self) -> None:
        check_at_least("every_steps", self.every_steps, 0)
        check_at_least("keep", self.keep, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What is logged.

    Attributes:
        every_steps: steps between lines of the log; the last step of an epoch, or of the run, has one too.
        tensorboard: also write event files.
        scaling_steps: steps to time before training, on one rank alone and on all, to report the efficiency; 0 for
            none.
    """

    every_steps: int = 50
    tensorboard: bool = False
    scaling_steps: int = 0

    def __post_init__(self) -> None:
        check_at_least("every_steps", self.every_steps, 1)
        check_at_least("scaling_steps", self.scaling_steps, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole training run.

    Attributes:
        epochs: number of epochs.
        steps: number of steps after which the run ends, if that is before its last epoch; 0 for none.
        task: what is learnt.
        seed: seed of initial weights, order and augmentation.
        evaluate_epochs: epochs between evaluations (also after the last); 0 for no evaluation.
        phases: settings from certain epochs on; the first begins at epoch 0.
    """

    epochs: int
    steps: int = 0
    task: TaskName = TaskName.MULTI_LABEL
    seed: int = 0
    evaluate_epochs: int = 1
    data: Data = Data()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    phases: tuple[Phase, ...] = (Phase(),)
    execution: Execution = Execution()
    checkpoints: Checkpoints = Checkpoints()
    logs: Logs = Logs()
    detection: Detection = Detection()  # noqa: RUF009 - it is frozen
    segmentation: Segmentation = Segmentation()  # noqa: RUF009 - as above

    def __post_init__(self) -> None:
        check_at_least("epochs", self.epochs, 1)
        check_at_least("steps", self.steps, 0)
        check_at_least("seed", self.seed, 0)
        check_at_least("evaluate_epochs", self.evaluate_epochs, 0)
        starts = [phase.first_epoch for phase in self.phases]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"phases begin at the epochs {starts}, which do not ascend from 0")
        other = [phase.sampler.value for phase in self.phases if phase.sampler is not SamplerName.BLOCKS]
        if self.data.streamed and other:
            raise ValueError(f'data.streamed needs sampler = "blocks" in every phase, but one is {other[0]}')
        if self.loss.name not in self.task.losses:
            others = ", ".join(name.value for name in self.task.losses)
            raise ValueError(f"loss.name = {self.loss.name.value} is not for {self.task.value}, which has {others}")
        if self.data.streamed and self.task is not TaskName.MULTI_LABEL:
            raise ValueError(f"data.streamed is not for {self.task.value}: leave it out")
        for name, task in (("detection", TaskName.DETECTION), ("segmentation", TaskName.SEGMENTATION)):
            options = getattr(self, name)
            if self.task is not task and options != type(options)():
                raise ValueError(f"[{name}] has no effect on {self.task.value}: leave it out")
        if self.task is not TaskName.MULTI_LABEL and self.loss.unknown is Unknown.IGNORED:
            raise ValueError(f"loss.unknown has no effect on {self.task.value}: leave it out")
        if self.data.upright and self.task is not TaskName.MULTI_LABEL:
            raise ValueError(f"data.upright is not for {self.task.value}, whose labels are of pixels as stored")
        of_steps = bool(self.steps or self.schedule.decay_steps)
        if of_steps and len({phase.batch_size for phase in self.phases}) > 1:
            raise ValueError("steps and decay_steps need one batch_size in all phases: write epochs and decay_epochs")

    def phase(self, epoch: int) -> Phase:
        """Return the phase of an epoch."""
        return next(phase for phase in reversed(self.phases) if phase.first_epoch <= epoch)
