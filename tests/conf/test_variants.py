"""Experiments that are another one and a word or two: they differ by what their names say, and by nothing else."""

import pytest
from compositions import as_written

VARIANTS = {  # experiment: the words that make the same of another
    "mpii_w32_256x256_dark": "experiment=mpii_w32_256x256 codec=dark_256x256",
    "mpii_w48_256x256_dark": "experiment=mpii_w48_256x256 codec=dark_256x256",
    "mpii_w32_256x256_udp": "experiment=mpii_w32_256x256 codec=udp_256x256",
    "w32_256x192_pixels": "experiment=w32_256x192 pixels=color_dropout",
    "w32_256x192_scratch": "experiment=w32_256x192",
    "w32_256x192_across_stages": "experiment=w32_256x192 +model.exchanges=across_stages",
    "w32_256x192_final_exchange": "experiment=w32_256x192 +model.exchanges=final",
    "w32_256x192_branch_2x": "experiment=w32_256x192 +model.heatmap_branch=1 codec.heatmap_size=[24,32]",
    "w32_256x192_branch_4x": "experiment=w32_256x192 +model.heatmap_branch=2 codec.heatmap_size=[12,16]",
    "w48_256x192_branch_2x": "experiment=w48_256x192 +model.heatmap_branch=1 codec.heatmap_size=[24,32]",
    "w48_256x192_branch_4x": "experiment=w48_256x192 +model.heatmap_branch=2 codec.heatmap_size=[12,16]",
    **{
        f"{net}_128x96": f"experiment={net}_256x192 codec=heatmap_128x96 data.batch_size=64 trainer.accumulate_grad_batches=2"
        for net in ("w32", "w48", "res50", "res101", "res152")
    },
    **{
        f"{net}_128x96_dark": f"experiment={net}_128x96 codec=dark_128x96"
        for net in ("w32", "res50", "res101", "res152")
    },
    "w48_128x96_dark": "experiment=w48_128x96 codec=dark_128x96 codec.blur_kernel=11",
    "hourglass_4_128x96": "experiment=hourglass_4_256x192 codec=heatmap_128x96",
    "hourglass_8_128x96": "experiment=hourglass_8_256x192 codec=heatmap_128x96 codec.sigma=2.0",
    "hourglass_4_128x96_dark": "experiment=hourglass_4_128x96 codec=dark_128x96 codec.blur_kernel=11",
    "hourglass_8_128x96_dark": "experiment=hourglass_8_128x96 codec=dark_128x96 codec.blur_kernel=11 codec.sigma=2.0",
    "w32_256x192_dark": "experiment=w32_256x192 codec=dark_256x192",
    "w48_256x192_dark": "experiment=w48_256x192 codec=dark_256x192 data.batch_size=30",
    "w32_384x288_dark": "experiment=w32_384x288 codec=dark_384x288 data.batch_size=28",
    "w48_384x288_dark": "experiment=w48_384x288 codec=dark_384x288 data.batch_size=18",
    **{
        f"{net}_{size}_udp": f"experiment={net}_{size} codec=udp_{size}"
        for net in ("w32", "w48", "res50", "res152")
        for size in ("256x192", "384x288")
    },
    "w32_256x192_udp_offset": "experiment=w32_256x192 codec=udp_offset_256x192 loss=offset",
}


@pytest.mark.parametrize("experiment", VARIANTS)
def test_a_variant_differs_from_its_origin_by_what_its_name_says(experiment):
    words = [*VARIANTS[experiment].split(), f"name={experiment}"]
    assert as_written(f"experiment={experiment}") == as_written(*words)


def test_plain_fit_is_the_tiny_experiment():
    assert as_written() == as_written("+experiment=tiny")
