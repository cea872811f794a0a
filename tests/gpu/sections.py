"""All sections in the order of what must be known first; a trial's seconds are what it may take on one GPU."""

from __future__ import annotations

from tests.gpu import loss_cost, loss_laws, machine, pictures, speed, trainer_laws
from tests.gpu.trials import Section, Trial

SECTIONS = (
    Section(
        "machine",
        (
            Trial("GPUs", machine.gpus, 5),
            Trial("the rest", machine.machine, 1),
            Trial("it computes", machine.computes, 1, law=True),
        ),
    ),
    Section(
        "loss",
        (
            Trial("released = published values", loss_laws.published, 3, law=True),
            Trial("released = numpy in float64", loss_laws.released_is_its_oracle, 5, law=True),
            Trial("paper = numpy in float64", loss_laws.paper_is_its_oracle, 5, law=True),
            Trial("draws and streaks = the CPU's", loss_laws.draws_are_the_cpus, 10, law=True),
            Trial("half precision is computed in float32", loss_laws.half_precision, 5, law=True),
        ),
    ),
    Section("data", (Trial("shards", pictures.make_data, 30),)),
    Section(
        "trainer",
        (
            Trial("golden curve", trainer_laws.golden_curve, 5, law=True),
            Trial("float32 = the CPU", trainer_laws.float32, 40, law=True),
            Trial("bfloat16 near float32", trainer_laws.bfloat16, 15, law=True),
            Trial("float16 near float32", trainer_laws.float16, 15, law=True),
            Trial("channels first = channels last", trainer_laws.channels_first, 15, law=True),
            Trial("killed and resumed = not killed", trainer_laws.resumed, 30, law=True),
        ),
        needs=("data",),
    ),
    Section(
        "ranks",
        (
            Trial("one rank of torchrun = none", trainer_laws.one_rank, 30, law=True),
            Trial("several ranks = one", trainer_laws.several_ranks, 40, law=True),
        ),
        needs=("data",),
    ),
    Section(
        "speed",
        (
            Trial("bare torchvision step", speed.bare, 25),
            Trial("whole loop", speed.loop, 50),
            Trial("data wait of the loop", speed.waited, 0),
            Trial("peak memory of the loop", speed.peak, 0),
            Trial("timm's step", speed.timm_step, 25),
            Trial("cores that must decode", speed.decoding, 10),
            Trial("for plan", speed.for_plan, 0),
            Trial("whole loop on all GPUs", speed.loop_on_all, 60),
        ),
        needs=("data",),
    ),
    Section(
        "loss cost",
        (
            Trial("float32, small", loss_cost.at_512, 5),
            Trial("float32, large", loss_cost.at_4096, 5),
            Trial("bfloat16, small", loss_cost.of_bfloat16, 5),
            Trial("fused = chunked", loss_laws.fused_is_chunked, 30, law=True),
            Trial("fused, small", loss_cost.fused_at_512, 15),
            Trial("fused, large", loss_cost.fused_at_4096, 10),
            Trial("is fused the fastest form?", loss_cost.decision, 0),
        ),
    ),
    Section(
        "compile",
        (
            Trial("fused loss in a run", trainer_laws.fused, 25, law=True),
            Trial("compiled network = not compiled", trainer_laws.compiled, 60, law=True),
            Trial("whole loop, compiled", speed.compiled_loop, 90),
        ),
        needs=("data",),
    ),
)
