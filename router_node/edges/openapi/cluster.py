"""The cluster: nodes and partitions. Any node answers for all of it."""

from __future__ import annotations

from partitioning.slots import MAX_PARTITIONS
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    asked,
    choice,
    empty,
    in_path,
    integer,
    listed,
    maybe,
    moment,
    nothing,
    number,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text

NODE: Json = {
    "node": "node-1",
    "address": "10.0.0.1:8080",
    "version": "0.1.0",
    "started_at": "2026-01-01T12:00:00.000Z",
    "seen_s": 0.25,
    "state": "live",
    "partitions": 22,
    "consumers": 3,
    "unsettled": 12,
    "load": 1234.5,
}
PARTITION: Json = {
    "partition": 3,
    "owner": "node-1",
    "placed": "node-1",
    "epoch": 1767268800000,
    "since": "2026-01-01T12:00:00.000Z",
    "backlog": {str(level): 0 for level in range(9, -1, -1)},
    "spilled": 0,
    "lag_s": 0.0,
}
GROWTH: Json = {"from": 64, "to": 128, "partitions": 64, "sealed": 64, "passed": 12, "lanes_waiting": 3}

SCHEMAS: dict[str, Json] = {
    "Node": told(
        "A node of the cluster.",
        node=_text("Its id."),
        address=maybe(_text()),
        version=maybe(_text()),
        started_at=moment("When it started."),
        seen_s=number(0, None, "The age of its last sign of life."),
        state=choice("live", "draining", "gone"),
        partitions=integer(0, None, "Partitions that it owns."),
        consumers=integer(0, None),
        unsettled=integer(0, None, "Events that it has read and that are not settled."),
        load=number(0, None, "Events accepted a second."),
    ),
    "Partition": told(
        "A partition.",
        partition=integer(0, MAX_PARTITIONS - 1),
        owner=maybe(_text("The node that owns it; null while there is none.")),
        placed=maybe(_text("The node that is to own it.")),
        epoch=integer(0, None, "Of its lease; 0: it was never owned."),
        since=maybe(moment("When it was last handed over.")),
        backlog={
            "type": "object",
            "description": "Entries that wait in its streams, by priority.",
            "additionalProperties": integer(0, None),
        },
        spilled=integer(0, None, "Events in the queues of slow subscriptions."),
        lag_s=number(0, None, "The age of its oldest unsettled event."),
    ),
    "Growth": told(
        "How far growing is.",
        **{"from": integer(1, MAX_PARTITIONS)},
        to=integer(1, MAX_PARTITIONS),
        partitions=integer(1, None, "Partitions that give slots away."),
        sealed=integer(0, None, "Those that take no more events of the slots they give away."),
        passed=integer(0, None, "Those that have settled all they had."),
        lanes_waiting=integer(0, None, "Lanes that hold events until then."),
    ),
}

_ID = in_path("id", _text(minLength=1), "The id of a node; a slash in it is %2F.", "node-1")
_NUMBER = in_path("number", integer(0, MAX_PARTITIONS - 1), "The number of a partition.", 3)

NODES = Noun(
    "Nodes",
    "The nodes of the cluster. Any of them answers for all.",
    {
        "/v1/nodes": {
            "get": operation(
                "listNodes",
                "List the nodes",
                answers={200: answer("All nodes.", told("Nodes.", nodes=listed(ref("Node"))), {"nodes": [NODE]})},
                errors=(503,),
            ),
        },
        "/v1/nodes/{id}": {
            "get": operation(
                "getNode",
                "Look at a node",
                parameters=[_ID],
                answers={200: answer("The node.", ref("Node"), NODE)},
                errors=(404, 503),
            ),
        },
        "/v1/nodes/{id}/drain": {
            "post": operation(
                "drainNode",
                "Have a node hand its partitions over",
                description="May be repeated. 409 when no other node is there to take them.",
                parameters=[_ID],
                body=nothing(),
                answers={202: empty("It hands them over after this answer.")},
                errors=(404, 409, 503),
            ),
            "delete": operation(
                "undrainNode",
                "Have a node go back to work",
                description="May be repeated.",
                parameters=[_ID],
                answers={204: empty("It takes partitions again.")},
                errors=(404, 503),
            ),
        },
    },
    {"Node": SCHEMAS["Node"]},
)

PARTITIONS = Noun(
    "Partitions",
    "The partitions of the log, and who owns them.",
    {
        "/v1/partitions": {
            "get": operation(
                "listPartitions",
                "List the partitions",
                description=f"There are at most {MAX_PARTITIONS}.",
                answers={
                    200: answer(
                        "All partitions.",
                        told(
                            "Partitions, and the growth under way.",
                            partitions=listed(ref("Partition")),
                            growth=maybe(ref("Growth")),
                        ),
                        {"partitions": [PARTITION], "growth": None},
                    )
                },
                errors=(503,),
            ),
        },
        "/v1/partitions/{number}": {
            "get": operation(
                "getPartition",
                "Look at a partition",
                parameters=[_NUMBER],
                answers={200: answer("The partition.", ref("Partition"), PARTITION)},
                errors=(404, 503),
            ),
        },
        "/v1/partitions/grow": {
            "post": operation(
                "growPartitions",
                "Grow to more partitions",
                description="Asked again for the same number, it tells how far it is.",
                body=takes(asked("How many there are to be.", ["to"], to=integer(1, MAX_PARTITIONS)), {"to": 128}),
                answers={202: answer("It goes on after this answer.", ref("Growth"), GROWTH)},
                errors=(409, 503),
            ),
        },
        "/v1/partitions/rebalance": {
            "post": operation(
                "rebalancePartitions",
                "Have every node look at its placement now",
                body=nothing(),
                answers={
                    202: answer(
                        "They move after this answer.",
                        told("How many.", moving=integer(0, None, "Partitions that are not where they are placed.")),
                        {"moving": 2},
                    )
                },
                errors=(503,),
            ),
        },
    },
    {"Partition": SCHEMAS["Partition"], "Growth": SCHEMAS["Growth"]},
)
