"""Runs the statements of docs/clickhouse.md on records, with an embedded ClickHouse in place of a server.

    pip install chdb; python tests/clickhouse/check.py

The Kafka engine's tables become tables in memory, into which records go by the same input format.
"""

import json
import pathlib
import re

from chdb import session

ROOT = pathlib.Path(__file__).parent.parent.parent
BIFROST = (ROOT / "tests/golden/bifrost-record.json").read_text()
MODEL = json.dumps({
    "id": "0197c2a0-0000-7000-8000-000000000001",
    "inference_id": "0197c2a0-0000-7000-8000-000000000002",
    "raw_request": "{}", "raw_response": "{}", "input_messages": "[]", "output": "[]",
    "model_name": "gpt-4", "model_provider_name": "openai", "input_tokens": 100, "output_tokens": None,
    "response_time_ms": 500, "cached": False,
})
CHAT = json.dumps({
    "id": "0197c2a0-0000-7000-8000-000000000002", "function_name": "chat_function", "variant_name": "variant_a",
    "episode_id": "0197c2a0-0000-7000-8000-000000000003", "input": {"messages": []},
    "output": [{"type": "text", "text": "hi"}], "processing_time_ms": 123, "tags": {"key": "value"},
})
OTLP = json.dumps({"resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
    "scopeSpans": [{"spans": [{
        "traceId": "5b8aa5a2d2c872e8321cf37308d69df2", "spanId": "051581bf3cb55c13", "name": "GET /",
        "startTimeUnixNano": "1760000000000000001", "endTimeUnixNano": "1760000000100000000",
        "attributes": [{"key": "http.status_code", "value": {"intValue": "200"}}], "status": {"code": 1},
    }]}],
}]})


def main():
    clickhouse = session.Session()
    clickhouse.query("CREATE DATABASE docs ENGINE = Atomic")
    clickhouse.query("USE docs")
    for block in re.findall(r"```sql\n(.*?)```", (ROOT / "docs/clickhouse.md").read_text(), re.DOTALL):
        for statement in filter(str.strip, block.split(";\n")):
            clickhouse.query(re.sub(r"ENGINE = Kafka\s+SETTINGS.*", "ENGINE = Memory", statement, flags=re.DOTALL))

    def insert(table, form, record):
        clickhouse.query(f"INSERT INTO {table} FORMAT {form}\n{record.strip()}")

    def rows(query):
        return [json.loads(line) for line in str(clickhouse.query(query, "JSONEachRow")).splitlines()]

    insert("bifrost_queue", "JSONEachRow", BIFROST)
    spans = rows("SELECT * FROM bifrost_spans")
    assert len(spans) == len(json.loads(BIFROST)["Spans"]) and spans[0]["StartTime"] > "2000", spans
    insert("model_inference_queue", "JSONEachRow", MODEL)
    [model] = rows("SELECT * FROM model_inference_queue")
    assert (model["input_tokens"], model["output_tokens"], model["cached"]) == (100, None, False), model
    insert("chat_inference_queue", "JSONEachRow", CHAT)
    [chat] = rows("SELECT * FROM chat_inference_queue")
    assert chat["tags"] == {"key": "value"} and json.loads(chat["output"])[0]["text"] == "hi", chat
    insert("otlp_traces_queue", "JSONAsString", OTLP)
    [span] = rows("SELECT * FROM otlp_spans")
    assert (span["ServiceName"], span["StatusCode"]) == ("shop", 1), span
    assert span["Start"] == "2025-10-09 08:53:20.000000001", span
    print("every statement of docs/clickhouse.md runs, and finds what is in the records")


main()
