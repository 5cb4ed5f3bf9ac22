"""Every family's file; each files its adapters in ``ADAPTERS`` when it is imported."""

from jepa_vlm.adapters import gemma3 as gemma3
from jepa_vlm.adapters import glm4v as glm4v
from jepa_vlm.adapters import idefics3 as idefics3
from jepa_vlm.adapters import lfm2_vl as lfm2_vl
from jepa_vlm.adapters import llava as llava
from jepa_vlm.adapters import llava_next as llava_next
from jepa_vlm.adapters import mistral3 as mistral3
from jepa_vlm.adapters import mllama as mllama
from jepa_vlm.adapters import paligemma as paligemma
from jepa_vlm.adapters import qwen2_5_vl as qwen2_5_vl
from jepa_vlm.adapters import qwen2_vl as qwen2_vl
from jepa_vlm.adapters import qwen3_5 as qwen3_5
from jepa_vlm.adapters import qwen3_vl as qwen3_vl
from jepa_vlm.adapters import tiles as tiles
