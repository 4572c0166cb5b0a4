"""Configs of language models, under transformers' names."""

# KBlueLeaf's TIPO-500M: 507,989,760 parameters.
LANGUAGE_MODELS = {
    "tipo-500m": {
        "vocab_size": 32013, "hidden_size": 1280, "intermediate_size": 3840, "num_hidden_layers": 20,
        "num_attention_heads": 20, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "bos_token_id": 1,
        "eos_token_id": 2, "tie_word_embeddings": False,
    },
}
