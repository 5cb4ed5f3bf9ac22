"""Loads a backbone's processor, with or without torchvision.

transformers builds image processors on Pillow alone, but its video processors need torchvision, and every processor
class with a video slot then fails to load. Where torchvision does not import, the same class is loaded without that
slot.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, ProcessorMixin
from transformers.models.auto.auto_mappings import PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import processor_class_from_name

from jepa_vlm.errors import BackboneError, missing_extra
from jepa_vlm.typing import Processor

_made: dict[type[ProcessorMixin], type[ProcessorMixin]] = {}


class _Absent:
    """Takes the place of the missing video processor; its attributes are None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class _NoVideo(ProcessorMixin):
    """Comes after the real class in the method order and hides its video slot from ``ProcessorMixin``."""

    video_processor: Any = _Absent()
    slots: tuple[str, ...] = ()

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [slot for slot in cls.slots if slot != "video_processor"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.update(zip(self.slots, args, strict=False))
        kwargs.pop("video_processor", None)
        ProcessorMixin.__init__(self, **kwargs)

    def __reduce__(self) -> Any:
        return _restore, (type(self).__mro__[1], self.__dict__)

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        accepted = inspect.signature(cls.__init__).parameters
        settings = {k: v for k, v in {**processor_dict, **kwargs}.items() if k in accepted and k not in cls.slots}
        settings.update(zip(cls.get_attributes(), args, strict=False))
        if "video_processor" in accepted:
            settings["video_processor"] = None
        return cls(**settings)


def image_only(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Return the class under its own name, without its video slot; instances still pass ``isinstance``."""
    if processor_class not in _made:
        _without_number_words(processor_class)
        members = {"__module__": processor_class.__module__, "slots": tuple(processor_class.get_attributes())}
        _made[processor_class] = type(processor_class.__name__, (processor_class, _NoVideo), members)
    return _made[processor_class]


def _without_number_words(processor_class: type[ProcessorMixin]) -> None:
    """Let SmolVLM's processor be built without num2words, which it needs only to spell out the length of a video."""
    module: Any = sys.modules[processor_class.__module__]
    if vars(module).get("num2words", _Absent) is None:
        module.num2words = _no_number_words


def _no_number_words(number: int) -> str:
    raise missing_extra("num2words", "smolvlm", f"Spelling out a video of {number} frames")


def _restore(processor_class: type[ProcessorMixin], state: dict[str, Any]) -> ProcessorMixin:
    """Undo ``_NoVideo.__reduce__``: the class is made at run time, so pickle cannot find it by name."""
    made = image_only(processor_class)
    processor = made.__new__(made)
    processor.__dict__.update(state)
    return processor


def torchvision_works() -> bool:
    """Return whether torchvision is installed.

    Raises:
        BackboneError: If it is installed and does not import, as a build for another torch does not.
    """
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as err:
        raise BackboneError(
            f"torchvision is installed but does not import ({err}); install the build for this torch, or uninstall it."
        ) from None
    return True


def require_torchvision(name: str) -> None:
    """Raise an error for a class that transformers builds on torchvision alone, if that is not installed.

    Raises:
        BackboneError: If torchvision is not installed.
    """
    if not torchvision_works():
        raise BackboneError(f"{name} needs torchvision, which is not installed; install the build for this torch.")


def load_processor(folder_or_id: str, **options: Any) -> Processor:
    """Load the standard processor of a local folder or a hub id; ``options`` go to ``from_pretrained``.

    A folder that was saved without settings for videos is read without that slot on any machine.
    """
    if torchvision_works():
        try:
            return AutoProcessor.from_pretrained(folder_or_id, **options)
        except OSError as err:
            if "video processor" not in str(err):
                raise
    settings, _ = ProcessorMixin.get_processor_dict(folder_or_id, **options)
    name = settings.get("processor_class")
    if name is None:
        kind = AutoConfig.from_pretrained(folder_or_id, **options).model_type
        name = PROCESSOR_MAPPING_NAMES.get(kind, kind)
    found = processor_class_from_name(name)
    if found is None:
        raise BackboneError(f"transformers has no processor class {name!r}; upgrade transformers or check the folder.")
    if not issubclass(found, ProcessorMixin):  # transformers' placeholder for what cannot be imported
        require_torchvision(name)
    return image_only(found).from_pretrained(folder_or_id, **options)


def save_processor(processor: Processor, folder: Path, *, video_processor: str) -> None:
    """Save a processor so that ``AutoProcessor`` reads it back on any machine.

    A processor loaded without its video slot writes no settings for it, and with torchvision ``AutoProcessor`` would
    refuse the folder. They are copied from the image settings, which families with a video slot use for both.

    Args:
        processor: Processor of a backbone.
        folder: Folder to write to.
        video_processor: Class of the family's video processor, or "" if it has none.
    """
    processor.save_pretrained(folder)
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text()) if path.is_file() else {}
    if not video_processor or "image_processor" not in settings or "video_processor" in settings:
        return
    shared = {name: value for name, value in settings["image_processor"].items() if name != "image_processor_type"}
    settings["video_processor"] = {**shared, "video_processor_type": video_processor}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
