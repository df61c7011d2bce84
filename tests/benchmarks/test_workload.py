from benchmarks.workload import (
    VOCABULARY,
    answer,
    build_chunk,
    build_prompt,
    build_usage_chunk,
    rotation_in,
    rotation_of,
)
from tests.benchmarks.streams import chunk_of


def test_an_answer_starts_where_its_prompt_says():
    assert answer(3, 2) == VOCABULARY[3] + VOCABULARY[4]
    assert answer(len(VOCABULARY) - 1, 2) == VOCABULARY[-1] + VOCABULARY[0]


def test_answers_to_neighbouring_prompts_differ_so_that_a_mixed_up_delivery_is_seen():
    answers = {answer(rotation_of(number), 5) for number in range(len(VOCABULARY))}
    assert len(answers) == len(VOCABULARY)


def test_the_last_prompt_of_a_request_decides():
    body = f'{{"messages": [{{"content": "{build_prompt(7)}"}}, {{"content": "{build_prompt(70)}"}}]}}'
    assert rotation_in(body.encode()) == rotation_of(70)
    assert rotation_in(b"{}") == 0


def test_chunks_have_the_fields_of_the_real_ones():
    chunk = chunk_of(build_chunk(content=" x"))
    assert chunk["object"] == "chat.completion.chunk"
    assert chunk["choices"] == [
        {"index": 0, "delta": {"content": " x"}, "logprobs": None, "finish_reason": None}
    ]
    assert chunk["usage"] is None
    last = chunk_of(build_usage_chunk(12))
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 12
