"""Traces: one from a client's call through the mesh to the agent, its children and theirs.

OpenTelemetry's own variables decide (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER and so on);
without them nothing of OpenTelemetry is imported, and nothing of this is paid for. Where it is not
installed, which the base install does not ask for, hosts and clients go without traces.

A trace looks like this; `deploy/observability/README.md` says what is in each span.

    call demo.echo              the client, from its call to the response
      contract demo.echo        the scheduler, from acceptance to the end
        queue                   the scheduler: the wait for an agent, once for each attempt
        attempt                 the scheduler, from the lease to what became of it
          dispatch              the executor: from the scheduler's frame to the host's
          run demo.echo         the host, or its worker process: the capability's code
            call demo.other     the host: a child contract
              contract demo.other …

Spans of the scheduler and the executor are made when they are over, out of times that are kept
anyway (the ledger's), under ids that follow from the contract (`context.derived`). So nothing is
held in memory for them, they survive any restart, and an agent can name the attempt as its span's
parent before that is written.
"""
