"""Faster R-CNN over the stages of a classification network: the fourth stage as box head (C4), or a feature pyramid.

Ren et al. 2015 (https://arxiv.org/abs/1506.01497); He et al. 2015, appendix A (C4); Lin et al. 2017
(https://arxiv.org/abs/1612.03144, FPN).

Legend: B images, H and W pixels of the batch, K true boxes, L labels of boxes, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from mlimages_dataset.train.detection.box_heads import BoxHeads, Predicted
from mlimages_dataset.train.detection.proposals import Compared, ProposalNetwork
from mlimages_dataset.train.detection.targets import SeededSampler, TrueBoxes
from mlimages_dataset.train.models import batch_norms
from mlimages_dataset.train.stages import N_STAGES, Stages, without_stride

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.train.models import MultiLabelClassifier
    from mlimages_dataset.train.task_options import Detection

STRIDE = 32
"""Of the last stage; images are padded to multiples of it."""
POOLED = 7
"""Pixels of the side of a pooled region."""
_RATIOS = (0.5, 1.0, 2.0)
_FOREGROUND, _BACKGROUND = 0.7, 0.3
"""An anchor is an object from this overlap on, and none below that (Ren et al. 2015, section 3.1.2)."""
_SAMPLES_OF_BIN = 2


class Learnt(NamedTuple):
    """What a detector learns from a batch: the boxes that it proposes, and their classes."""

    proposals: Compared
    classes: Compared


class Detector(nn.Module):
    """Boxes and their classes in images in [-1, 1].

    Attributes:
        input_scaling: as of `MultiLabelClassifier`.
        backbone: the classification network without its head.
        taps: make the output of a stage ready to be used, by its number.
        pyramid: features of all scales from those of the stages; None for C4.
        rpn: proposes boxes.
        roi_heads: classifies them.
    """

    def __init__(self, classifier: MultiLabelClassifier, name: str, options: Detection) -> None:
        """Put a detector on a classification network, whose head is left out.

        Args:
            classifier: the network, with as many classes as are to be detected.
            name: of the network, for messages.
            options: of the run.

        Raises:
            UsageError: the network does not give features of its stages.
        """
        super().__init__()
        n_classes = classifier.n_classes
        self.input_scaling = classifier.input_scaling
        self.backbone = classifier.backbone
        self._stages = (Stages(self.backbone, name),)  # in a tuple: it owns no parameters
        if options.frozen_norms:
            for norm in batch_norms(self.backbone):
                norm.requires_grad_(False)
        used = range(N_STAGES) if options.pyramid else (N_STAGES - 2,)
        self.taps = nn.ModuleDict({str(stage): self._stages[0].tap(stage) for stage in used})
        self._n_classes = n_classes
        head, n_features = self._make_head(options)
        self.rpn = _proposal_network(options, self._level_channels)
        self.roi_heads = BoxHeads(
            MultiScaleRoIAlign(self._pooled_levels, POOLED, _SAMPLES_OF_BIN),
            head,
            FastRCNNPredictor(n_features, n_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=options.regions_of_image,
            positive_fraction=options.positive_share,
            bbox_reg_weights=None,
            score_thresh=options.least_score,  # these three are for torchvision's own way: see `found`
            nms_thresh=options.suppression_overlap,
            detections_per_img=options.most_detections,
        )
        self.roi_heads.fg_bg_sampler = SeededSampler(options.regions_of_image, options.positive_share)

    def _make_head(self, options: Detection) -> tuple[nn.Module, int]:
        """Make the pyramid, or the fourth stage into a head; return the head and the number of its features."""
        stages = self._stages[0]
        self.pyramid: nn.Module | None = None
        if options.pyramid:
            n_channels = options.pyramid_channels
            self.pyramid = FeaturePyramidNetwork(list(stages.channels), n_channels, LastLevelMaxPool())
            self._level_channels, self._pooled_levels = n_channels, [str(n) for n in range(N_STAGES)]
            return TwoMLPHead(n_channels * POOLED**2, options.head_features), options.head_features
        without_stride(stages.all[-1])
        self._level_channels, self._pooled_levels = stages.channels[-2], ["sums"]
        return _LastStage(self._stages), stages.channels[-1]

    def forward(
        self,
        images: Tensor,
        sizes: Tensor,
        truth: tuple[Tensor, Tensor, Tensor, Tensor] | None = None,
        seeds: Tensor | None = None,
    ) -> Learnt | Predicted:
        """Return what is learnt in training mode, what is predicted in evaluation mode.

        Args:
            images: padded at the right and at the bottom, shape (B, 3, H, W).
            sizes: height and width of each image, int64, shape (B, 2).
            truth: the image of each box, shape (K,), and its sides in pixels, shape (K, 4); the box of each label,
                shape (L,), and its class, shape (L,). Needed in training only.
            seeds: of the draws of anchors and of proposals, int64, shape (B, 2). Needed in training only.
        """
        # Anchors are placed by whole strides: torchvision divides the padded sides by those of the features.
        images = functional.pad(images, (0, -images.shape[3] % STRIDE, 0, -images.shape[2] % STRIDE))
        pairs = [(height, width) for height, width in sizes.tolist()]
        listed = ImageList(images, pairs)
        levels = self._features(images)
        if not self.training:
            proposals, _ = self.rpn.propose(listed, self._proposing(levels), None)
            return self.roi_heads.predict(levels, proposals, pairs)
        assert truth is not None
        assert seeds is not None
        self.rpn.fg_bg_sampler.seeds, self.roi_heads.fg_bg_sampler.seeds = seeds.T.tolist()
        true_boxes = self._true_boxes(truth, len(images))
        proposals, proposed = self.rpn.propose(listed, self._proposing(levels), true_boxes)
        assert proposed is not None
        return Learnt(proposed, self.roi_heads.learn(levels, proposals, true_boxes, pairs))

    def _features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features by level; those of C4 for proposals and, not normalised, for the fourth stage."""
        if self.input_scaling is not None:
            images = self.input_scaling(images)
        if self.pyramid is None:
            *_, sums = self._stages[0].outputs(images, N_STAGES - 1)
            return {"proposing": self.taps[str(N_STAGES - 2)](sums), "sums": sums}
        outputs = enumerate(self._stages[0].outputs(images))
        levels: dict[str, Tensor] = self.pyramid({str(n): self.taps[str(n)](x) for n, x in outputs})
        return levels

    def _proposing(self, levels: Mapping[str, Tensor]) -> list[Tensor]:
        return [levels["proposing"]] if self.pyramid is None else list(levels.values())

    def _true_boxes(self, truth: tuple[Tensor, Tensor, Tensor, Tensor], n_images: int) -> list[TrueBoxes]:
        box_image, sides, label_box, class_index = truth
        labels = torch.zeros(len(sides), self._n_classes, dtype=torch.bool, device=sides.device)
        labels[label_box, class_index] = True
        counts = torch.bincount(box_image, minlength=n_images).tolist()
        return [TrueBoxes(*both) for both in zip(sides.split(counts), labels.split(counts), strict=True)]


class _LastStage(nn.Module):
    """The fourth stage on pooled regions, and the mean over their pixels."""

    def __init__(self, stages: tuple[Stages]) -> None:
        super().__init__()
        self._stages = stages

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the features of regions, shape (R, D), from sums of the third stage, shape (R, D, 7, 7)."""
        return self._stages[0].last(pooled)


def _proposal_network(options: Detection, n_channels: int) -> ProposalNetwork:
    sizes = tuple((size,) for size in options.anchor_sizes) if options.pyramid else (options.anchor_sizes,)
    anchors = AnchorGenerator(sizes, (_RATIOS,) * len(sizes))
    network = ProposalNetwork(
        anchors,
        RPNHead(n_channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=_FOREGROUND,
        bg_iou_thresh=_BACKGROUND,
        batch_size_per_image=options.anchors_of_image,
        positive_fraction=0.5,
        pre_nms_top_n={"training": options.candidates[0], "testing": options.candidates[1]},
        post_nms_top_n={"training": options.proposals[0], "testing": options.proposals[1]},
        nms_thresh=0.7,
    )
    network.fg_bg_sampler = SeededSampler(options.anchors_of_image, 0.5)
    return network
