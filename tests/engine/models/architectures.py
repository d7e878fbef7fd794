"""Tiny random models of many architectures, with a tokenizer of their own: two layers, nothing is fetched.

Weights are drawn wider than a training begins with, and biases too, so that a window, a scale or a bias that is left out
moves scores by far more than rounding does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HEADS = {"num_attention_heads": 4}
GROUPED = {**HEADS, "num_key_value_heads": 2}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 512}
USUAL = {**SIZES, **GROUPED, "intermediate_size": 64}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
WINDOW = {"sliding_window": 16}
BOTH = {"layer_types": ["sliding_attention", "full_attention"], **WINDOW}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
MAMBA = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8,
         "mamba_chunk_size": 16}  # fmt: skip

# name: configuration class and what it is made with; the class of the model is what transformers has for it.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "codegen": ("CodeGenConfig", {**GPT, "rotary_dim": 4}),
    "cohere": ("CohereConfig", {**USUAL, "logit_scale": 0.25}),
    "cohere2": ("Cohere2Config", {**USUAL, **BOTH, "logit_scale": 0.25}),
    "deepseek-v2": ("DeepseekV2Config", {**SIZES, **HEADS, "num_key_value_heads": 4, "intermediate_size": 64,
                    "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "kv_lora_rank": 16,
                    "q_lora_rank": None, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
                    "head_dim": 8, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}),
    "exaone4": ("Exaone4Config", {**USUAL, **BOTH}),
    "falcon": ("FalconConfig", {**SIZES, **HEADS, "new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False}),
    "falcon-alibi": ("FalconConfig", {**SIZES, **HEADS, "alibi": True, "multi_query": False}),
    "falcon-h1": ("FalconH1Config", {**USUAL, **MAMBA, "lm_head_multiplier": 0.3}),
    "falcon-mamba": ("FalconMambaConfig", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
    "gemma": ("GemmaConfig", {**USUAL, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**USUAL, **BOTH, "head_dim": 8, "final_logit_softcapping": 3.0,
               "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3TextConfig", {**USUAL, **BOTH, "head_dim": 8, "query_pre_attn_scalar": 8}),
    "glm4": ("Glm4Config", {**USUAL, "head_dim": 8, "pad_token_id": 0}),
    "gpt-bigcode": ("GPTBigCodeConfig", GPT),
    "gpt-neo": ("GPTNeoConfig", {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 16,
                "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 512}),
    "gpt-neox": ("GPTNeoXConfig", {**SIZES, **HEADS, "intermediate_size": 64}),
    "gpt-oss": ("GptOssConfig", {**USUAL, **BOTH, **EXPERTS, "head_dim": 8}),
    "gpt2": ("GPT2Config", GPT),
    "gptj": ("GPTJConfig", {**GPT, "rotary_dim": 4}),
    "granite": ("GraniteConfig", {**USUAL, "logits_scaling": 4.0, "embedding_multiplier": 3.0,
                "residual_multiplier": 0.5, "attention_multiplier": 0.3}),
    "helium": ("HeliumConfig", {**USUAL, "head_dim": 8}),
    "lfm2": ("Lfm2Config", {**USUAL, "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}),
    "llama": ("LlamaConfig", USUAL),
    "llama3-rope": ("LlamaConfig", {**USUAL, "rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0,
                    "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64}}),
    "llama4": ("Llama4TextConfig", {**USUAL, **EXPERTS, "head_dim": 8, "intermediate_size_mlp": 64,
               "attention_chunk_size": 16, "layer_types": ["chunked_attention", "full_attention"]}),
    "mamba": ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
    "mamba2": ("Mamba2Config", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 4,
               "head_dim": 16, "n_groups": 1, "chunk_size": 16}),
    "mistral": ("MistralConfig", USUAL | {"sliding_window": None}),
    "mistral-window": ("MistralConfig", {**USUAL, **WINDOW}),
    "mixtral": ("MixtralConfig", {**USUAL, **EXPERTS}),
    "mpt": ("MptConfig", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512}),
    "nemotron": ("NemotronConfig", USUAL),
    "olmo": ("OlmoConfig", {**USUAL, "clip_qkv": None}),
    "olmo2": ("Olmo2Config", USUAL),
    "olmo3": ("Olmo3Config", {**USUAL, **BOTH}),
    "opt": ("OPTConfig", {**SIZES, **HEADS, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "phi": ("PhiConfig", USUAL),
    "phi3-window": ("Phi3Config", {**USUAL, **WINDOW, "pad_token_id": 0}),
    "qwen2": ("Qwen2Config", USUAL),
    "qwen2-window": ("Qwen2Config", {**USUAL, **WINDOW, "use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": ("Qwen3Config", {**USUAL, "head_dim": 8}),
    "qwen3-moe": ("Qwen3MoeConfig", {**USUAL, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2,
                  "moe_intermediate_size": 16}),
    "qwen3-next": ("Qwen3NextConfig", {**USUAL, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2,
                   "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "linear_num_key_heads": 2,
                   "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
                   "layer_types": ["linear_attention", "full_attention"]}),
    "recurrent-gemma": ("RecurrentGemmaConfig", {**USUAL, "head_dim": 8, "lru_width": 32, "attention_window_size": 16,
                        "block_types": ["recurrent", "attention"]}),
    "smollm3": ("SmolLM3Config", {**USUAL, "pad_token_id": 0}),
    "stablelm": ("StableLmConfig", USUAL),
    "starcoder2-window": ("Starcoder2Config", {**USUAL, **WINDOW}),
    "xglm": ("XGLMConfig", {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64,
             "max_position_embeddings": 512}),
}  # fmt: skip
TEXTS = (
    "Instruction: Name the colour of the river.\nResponse: The river is green.",
    "The old miller of the village keeps a goose, and the goose keeps a pond of its own behind the mill.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
)


def tokenizer() -> Any:
    """Bytes and a few merges, with a BOS in front."""
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([*TEXTS, "a good answer, a bad answer" * 3], trainer)
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def made(name: str, folder: Path, dtype: torch.dtype = torch.float32, **sizes: int) -> Path:
    """The folder of a tiny random model, as a person would name it; `sizes` take the place of its own."""
    import transformers

    class_name, given = ARCHITECTURES[name]
    given = given | {key: size for key, size in sizes.items() if key in given}
    tokens = tokenizer()
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, class_name)(vocab_size=len(tokens), **{**special, **given})
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for part, weights in model.named_parameters():
            if part.endswith("bias") or weights.dim() > 1:
                torch.nn.init.normal_(weights, std=0.3 if weights.dim() > 1 else 0.2)
    model.to(dtype).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder
