#!/bin/sh
# What the conformance suite starts as a client: asks the tests at $1 to do its scenario with the server at $2.
printf '%s\n%s\n%s' "$MCP_CONFORMANCE_SCENARIO" "$2" "${MCP_CONFORMANCE_CONTEXT:-null}" |
    curl --silent --show-error --fail --noproxy '*' --max-time 28 --data-binary @- "$1"
