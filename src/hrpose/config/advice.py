"""Suggestions for wrong overrides: similar names of the verb, and replacements for names of other tools."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

from hrpose.config.loading import Tree

# An override of hrpose, its names in Ultralytics, MMPose, Lightning's CLI and the official HRNet code (lower case, _ for -), and
# optionally the only verb with it. Of several rows with a name, the first with keys of the verb applies. `name=value` has
# precedence over `name`.
_OTHER_TOOLS: tuple[tuple[str, ...], ...] = (
    (
        "trainer.max_epochs={value}",
        "epochs epoch num_epochs n_epochs max_epoch max_epochs total_epochs train.end_epoch train_cfg.max_epochs",
    ),
    ("+trainer.max_steps={value}", "steps iters max_iters max_steps"),
    ("batch_size={value}", "batch bs"),
    ("data.batch_size={value}", "batch batch_size bs batch_size_per_gpu train.batch_size_per_gpu train_dataloader.batch_size"),
    ("optim.lr={value}", "lr lr0 learning_rate base_lr train.lr optim_wrapper.optimizer.lr optimizer.lr"),
    ("optim.weight_decay={value}", "wd weight_decay train.wd"),
    ("optim=<option> optim.lr=<number>", "optimizer train.optimizer"),
    ("schedule=<option>", "lr_scheduler scheduler param_scheduler"),
    ("size=<height>x<width>", "imgsz img_size image_size input_size resolution model.image_size"),
    ("codec.input_size=[<width>,<height>]", "imgsz img_size image_size input_size resolution model.image_size"),
    ("device=cpu", "device=cpu accelerator=cpu"),
    ("device=cuda:{value}", "gpu gpu_id"),
    ("device=cuda devices={value}", "gpus num_gpus"),
    ("trainer.accelerator=cpu", "device=cpu cpu"),
    ("trainer.accelerator=gpu trainer.devices=1", "device=cuda device=gpu"),
    ("trainer.accelerator=gpu trainer.devices=[{value}]", "device gpu gpu_id gpu_ids"),
    ("trainer.accelerator=gpu trainer.devices={value}", "gpus num_gpus n_gpus ngpus devices"),
    ("num_threads={value}", "workers num_workers"),
    ("data.num_workers={value}", "workers num_workers train_dataloader.num_workers"),
    ("precision=16", "fp16 half=true half", "predict"),
    ("precision=fp16", "fp16 half=true half", "export"),
    ("precision=int8", "int8 int8=true"),
    ("trainer.precision=bf16-mixed", "amp amp=true half half=true bf16"),
    ("trainer.precision=16-mixed", "fp16 fp16=true"),
    ("ckpt_path=last", "resume=true resume= auto_resume resume_from=last auto_resume=true"),
    ("ckpt_path={value}", "resume resume_from ckpt checkpoint resume_from_checkpoint"),
    ("weights=<file, or a name of docs/weights.md>", "pretrained=true pretrained="),
    (
        "weights={value}",
        "load_from pretrained pretrained_weights init_weights weight model_path model.pretrained test.model_file "
        "model model_file",
    ),
    ("data=coco paths.data=<folder>, or data.train_annotations=<file> data.train_images=<folder>, likewise val_", "data"),
    ("paths.data={value}", "data_dir datadir data_root dataset.root dataset"),
    ("paths.runs={value}", "work_dir output_dir out_dir outdir save_dir project default_root_dir logdir log_dir modeldir"),
    ("experiment={stem}", "config cfg config_file c"),
    ("name={value}", "exp exp_name run_name tag"),
    ("source={value}", "input inputs img image images video source_path"),
    ("results={value}", "res dt predictions"),
    ("annotations={value}", "gt ann ann_file labels"),
    ("data.val_boxes=[gt]", "use_gt_bbox test.use_gt_bbox"),
    ("trainer.check_val_every_n_epoch={value}", "val_interval eval_interval check_val_every_n_epoch train_cfg.val_interval"),
    ("trainer.accumulate_grad_batches={value}", "accumulate accum_iter grad_accum accumulate_grad_batches"),
    ("trainer.gradient_clip_val={value}", "grad_clip clip_grad"),
    ("callbacks/early_stopping=default callbacks.early_stopping.patience={value}", "patience"),
    ("callbacks/ema=default", "ema ema=true use_ema"),
    ("callbacks/freeze=backbone", "freeze freeze_backbone frozen_stages model.backbone.frozen_stages freeze=backbone"),
    ("codec.sigma={value}", "sigma"),
    ("metric.oks_nms_threshold={value}", "oks_thre nms_thr test.oks_thre"),
    ("oks_nms_threshold={value}", "oks_thre nms_thr iou test.oks_thre"),
    ("draw=none", "save=false show=false"),
    ("output={value}", "out out_file file output_file"),
    ("seed={value}", "random_state manual_seed"),
)
_WEIGHTS = (".pth", ".pt", ".safetensors", ".onnx", ".xml")


def replace_argument(tree: Tree, key: str, value: str) -> str:
    """Return "Use ..." for a key of another tool and its value, which may be empty; "" if the verb has no equivalent."""
    name = key.lower().replace("-", "_")
    spellings = (f"{name}={value.lower()}", name)
    for override, _, *verbs in (row for spelling in spellings for row in _OTHER_TOOLS if spelling in row[1].split()):
        keys = [text.partition("=")[0] for text in override.split() if "=" in text]
        if all(map(tree.has, keys)) and tree.verb in (verbs or (tree.verb,)):
            return f"Use {override.format(value=value or '...', stem=Path(value).stem or '...')}."
    return ""


def replace_bare(tree: Tree, texts: Sequence[str]) -> str:
    """Return "Use ..." for files without key; "" if no key of the verb accepts them."""
    path = Path(texts[0])
    suffix = path.suffix.lower()
    if tree.verb == "evaluate":
        return "Use annotations=<file> results=<file>."
    if suffix in (".yaml", ".yml") and tree.has("experiment"):
        return f"Use experiment={path.stem}; --config-dir <folder> adds a folder that has experiment/{path.name}."
    for suffixes, key in (((".ckpt",), "ckpt_path"), (_WEIGHTS, "weights"), ((".json",), "annotations")):
        if suffix in suffixes and tree.has(key):
            return f"Use {key}={path}."
    if not tree.has("source") or not (suffix or path.exists()):
        return ""
    several = "Use one source: source=<folder>, or a pattern in quotes, source='<folder>/*.jpg'."
    return f"Use source={texts[0]}." if len(texts) == 1 else several


def did_you_mean(name: str, choices: Iterable[str], *, prefix: str = "", cutoff: float = 0.6) -> str:
    """Return " Did you mean a, or b?" with the choices most similar to a name; "" if none is similar.

    Args:
        name: of the user. The last part of a dotted name is compared with its siblings first, then the whole name with all
            choices, then the last part with all last parts.
        choices: existing names.
        prefix: added before every choice.
        cutoff: smallest similarity, from 0 to 1.
    """
    known = list(dict.fromkeys(choices))
    parent, _, last = name.rpartition(".")
    siblings = {choice.rpartition(".")[2]: choice for choice in known if choice.rpartition(".")[0] == parent}
    close = [siblings[part] for part in _closest(last, list(siblings), cutoff)]
    close = close or _closest(name, known, max(cutoff, 0.75))
    if not close:
        parts = _closest(last, sorted({choice.rpartition(".")[2] for choice in known}), max(cutoff, 0.75))
        close = [choice for choice in known if choice.rpartition(".")[2] in parts][:3]
    if not close and len(name) > 1:
        close = [choice for choice in known if name in choice][:3]
    return f" Did you mean {', or '.join(prefix + choice for choice in close)}?" if close else ""


def _closest(name: str, choices: Sequence[str], cutoff: float) -> list[str]:
    """Return at most two choices: the most similar one, and another of nearly the same similarity."""
    close = get_close_matches(name, choices, n=2, cutoff=cutoff)
    alike = [SequenceMatcher(None, choice, name).ratio() for choice in close]
    return [choice for choice, ratio in zip(close, alike, strict=True) if alike[0] < 1 and ratio > alike[0] - 0.1] or close[:1]
