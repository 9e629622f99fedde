"""A speaker's adapter in the formats of other programs: `saml export ADAPTER --to <format>`.

    source      the adapter as one LoRA, and the model that it was trained on
    merged      the model's weights with the LoRA added
    peft        an adapter of PEFT's
    huggingface a folder of transformers'
    ctranslate2 a folder of CTranslate2's, for faster-whisper
    ggml        a file of whisper.cpp's
    command     which of them, and where to

A LoRA merged into weights is exact; a mixture of experts becomes one LoRA first, at the speaker's mean route.
"""
