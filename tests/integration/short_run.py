"""The overrides of a short run on the CPU."""

NO_PICTURES = "callbacks.pictures=null"  # drawing takes as long as training here
SMALL = [
    "prepare=null",
    "codec=heatmap",
    "size=128x96",
    *("model.width=4", "model.stem_width=8", "model.stage1_width=4"),
    *("data.batch_size=4", "data.val_batch_size=8", "data.num_workers=0", "data.val_boxes=[gt]"),
    *("trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "callbacks.progress=null"),
    *("+trainer.enable_progress_bar=false", "trainer.check_val_every_n_epoch=1", "schedule=none"),
    NO_PICTURES,
]
