"""The upstream: the only code that calls it and that reads its answers.

Read in this order: `client`, then a request on its way out, then an answer on its way in.

How a request is put to an upstream:

    payload of worker/prompt.py
      │  continuation       asks the upstream to go on from a partial answer, if there is one
      ▼
    request_adapter         what this upstream has refused before: names, order, signatures
      │  profiles           the table of upstream families, and what each one accepts
      │  request_body       the body as that family accepts it: messages, past_reasoning,
      ▼                     mistral_messages, gemini_signatures
    client ─▶ sdk_client    the first HTTP call, to the server that `address` names, through
      │                     the connections of `http_client`, which makes later ones like it
      ▼  an HTTP error, or an error inside the stream
    error_reports           what the upstream says about it, as one of the `errors`; `redaction`
                            keeps keys and prompts out, `retry_after` reads the headers

How a chunk travels, in one callback of the event loop: `pushed_body` hands the bytes to
`answer_stream`, which puts a limit on each silence (`watchdog`), and whose `answer_reader` has:

    bytes ─▶ body_decoder ─▶ sse ─────▶ chunk_json ─▶ chunks ─▶ pieces ─▶ worker/log_writer.py
             form of the     data of    the fields    │
             body            an event   that matter   ├ tally            the answer so far
                                                      ├ tool_calls       partial to final
                                                      ├ whole_messages   a message as a delta
                                                      ├ finish_reasons   in OpenAI's words
                                                      ├ usage            in whole tokens
                                                      ├ surrogates       text that UTF-8 can encode
                                                      └ ending           whether the end is believed

`model_list` reads the context sizes from the list of models.
"""
