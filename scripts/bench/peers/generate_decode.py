"""transformers' `generate` as a decoder of the same weights, batches sorted by length.

usage: PYTHON generate_decode.py MODEL_FOLDER SOURCE --device cpu   (threads: OMP_NUM_THREADS)
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.decoder_worker import Translate, serve_decoder
from scripts.bench.worker import claim_stdout


def main() -> None:
    """Serve until the end of stdin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    claim_stdout()

    import torch
    import transformers

    from scripts.bench.weights import load_pieces, longest_output, read_decoding, to_m2m100

    pieces, _ = load_pieces(options.model)
    decoding = read_decoding(options.model)
    model = to_m2m100(options.model).to(options.device)
    pad, specials = pieces.pad_id(), {pieces.pad_id(), pieces.bos_id(), pieces.eos_id()}

    @torch.inference_mode()
    def generate(sources: list[list[int]], beam: int) -> list[list[int]]:
        longest = max(map(len, sources))
        src_ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in sources], device=options.device)
        outputs = model.generate(
            input_ids=src_ids,
            attention_mask=(src_ids != pad).long(),
            num_beams=beam,
            do_sample=False,
            length_penalty=decoding["length_penalty"],
            early_stopping=False,
            max_new_tokens=longest_output(decoding, longest - 1),
        )
        return [[id_ for id_ in row if id_ not in specials] for row in outputs.tolist()]

    def make(beam: int, batch: int) -> Translate:
        def translate(lines: Sequence[str]) -> tuple[list[str], int]:
            sources = [[*ids, pieces.eos_id()] for ids in pieces.encode(list(lines))]
            order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
            hypotheses: list[list[int]] = [[] for _ in sources]
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                for row, ids in zip(rows, generate([sources[row] for row in rows], beam), strict=True):
                    hypotheses[row] = ids
            return pieces.decode(hypotheses), sum(len(ids) + 1 for ids in hypotheses)

        return translate

    serve_decoder(make, options.source, {"version": transformers.__version__})


if __name__ == "__main__":
    main()
