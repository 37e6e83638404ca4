"""Every bound of the mesh, each with its unit in its name and the arithmetic beside it."""

from __future__ import annotations

# --- the wire -------------------------------------------------------------------------------------

MESSAGE_BYTES_MAX = 4 * 1024 * 1024  # one gRPC message, both ways; gRPC's own default
METADATA_BYTES_MAX = 16 * 1024
ERROR_MESSAGE_BYTES_MAX = 1024  # sent twice: percent-encoded (≤ 3 KiB) and base64 (1.4 KiB)
ERROR_VIOLATIONS_MAX = 16  # × 2 × 128 bytes in base64 = 5.5 KiB; all of it fits METADATA_BYTES_MAX
ERROR_FIELD_BYTES_MAX = 128
UNARY_CALLS_MAX = 10_000  # of one process at once, waiting ones included; at about 20 KB, 200 MB
STREAMS_MAX = 25_000  # of one process: its sessions, watchers, links and submit streams
HEALTH_CALLS_MAX = 64  # at once on the port for probes: a few who ask, a few who watch
PENDING_CALLS_MAX = 20_000  # of one process that its event loop has not seen yet
STREAMS_PER_CONNECTION_MAX = 2_000  # calls in flight on one connection; more wait at the client
FRAME_ITEMS_MAX = 256  # of one kind; larger frames showed no gain
FRAME_BYTES_MAX = 64 * 1024  # a frame closes here, so that none holds back a heartbeat for long
ITEM_BYTES_MAX = 1024 * 1024  # a larger item is refused; it travels alone in its frame
PAYLOAD_INLINE_BYTES_MAX = 64 * 1024  # above that: a blob
BLOB_CHUNK_BYTES_MAX = 256 * 1024
BLOB_BYTES_MAX = 4 * 1024**3
BLOB_UPLOADS_MAX = 256  # at once, of one process; each holds a file and a chunk
BLOB_PARTIALS_MAX = 1_000  # unfinished uploads kept per tenant, the newest
SCHEMA_BYTES_MAX = 64 * 1024
PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1000

# --- identity -------------------------------------------------------------------------------------

TOKEN_BYTES_MAX = 8 * 1024  # of a JWT; the metadata has room for one
TOKEN_LEEWAY_SECONDS = 30.0  # by which the clocks of issuer and mesh may differ
TOKENS_KNOWN_MAX = 10_000  # whose signature need not be checked again; at 1 KB each, 10 MB
TOKEN_KEYS_MAX = 100
TOKEN_KEYS_BYTES_MAX = 1024 * 1024
IDENTITY_CHECK_SECONDS = 1.0  # how often files that tokens and grants come from are looked at
PEM_BYTES_MAX = 1024 * 1024  # a certificate with its chain, a key, a bundle of authorities
GRANTS_BYTES_MAX = 1024 * 1024

# --- sessions -------------------------------------------------------------------------------------

HEARTBEAT_SECONDS = 2.0
LEASE_PERIODS = 5  # a lease is this many heartbeat periods: 10 s
LEASE_SECONDS = HEARTBEAT_SECONDS * LEASE_PERIODS
ACCEPT_SECONDS = max(2.0, 1.5 * HEARTBEAT_SECONDS)  # a bare agent accepts with its next heartbeat
RESUME_GRACE_SECONDS = 3.0  # the SDK's first reconnects (0.2 s, doubling) fall inside it
SWEEP_SECONDS = 0.5
STALL_SECONDS = 1.0  # a longer pause between sweeps was our own stall: judge nobody for it
HELLO_SECONDS = 10.0  # a stream that says nothing for this long is closed
DRAIN_GRACE_SECONDS = 30.0  # for a host that is asked to leave, unless another is named
ACK_DELAY_SECONDS = 0.05  # for "accepted": it travels with the next assignment, or alone then
SESSIONS_MAX = 20_000  # of one executor; 10,000 at ≤ 60 KB each are 600 MB
AGENTS_PER_SESSION_MAX = 10_000
HEARTBEATS_PER_SECOND_MAX = 500  # beyond it the period is stretched: sessions / this
ITEMS_UNACKED_MAX = 64  # stream items of one attempt
ITEMS_UNACKED_BYTES_MAX = 256 * 1024
SESSION_OUTBOX_ITEMS_MAX = 16_384  # a host that takes nothing is cut off there (about 8 MB)
SESSION_OUTBOX_BYTES_MAX = 8 * 1024 * 1024  # nor may more wait for one that has stopped reading
SESSION_UNACKED_REPORTS_MAX = 16_384  # relayed for attempts that the session does not hold
SESSION_SPECS_BYTES_MAX = 16 * 1024 * 1024  # of its agents: 10,000 at 1.6 KB, or few with schemas
SESSION_PARKED_BYTES_MAX = 8 * 1024 * 1024  # of frames while no link is up; then come back later
HELD_PER_SESSION_MAX = 100_000  # leases that a hello or a heartbeat names
NAME_CHARACTERS_MAX = 128  # of hosts, agents, models
RELINK_SECONDS_MIN = 0.2  # pause before a link is dialled again, at random up to …
RELINK_SECONDS_MAX = 2.0
PRESENCE_SECONDS = 0.2  # a registry hears what has changed this often
PRESENCE_COUNTS_SECONDS = 5.0  # and how busy agents are
LINK_LEVEL_SPECS_BYTES_MAX = 2 * 1024 * 1024  # in a link's first frame, beside 20,000 sessions
LINK_FRAME_BYTES_MAX = 1024 * 1024  # a link's frame closes here; with one item more, ≤ 4 MiB

# --- contracts ------------------------------------------------------------------------------------

DEADLINE_DEFAULT_SECONDS = 24 * 3600.0
DEADLINE_MAX_SECONDS = 30 * 24 * 3600.0
START_TO_CLOSE_DEFAULT_SECONDS = 600.0
FAILED_ATTEMPTS_DEFAULT = 5
LOST_AGENTS_MAX = 3
SOLO_AFTER_LOSSES = 2  # then it runs alone in its host, so that bystanders are not counted down
RETRY_INITIAL_SECONDS = 0.2
RETRY_COEFFICIENT = 2.0
RETRY_MAX_SECONDS = 30.0
TREE_DEPTH_MAX = 8
CHILDREN_OPEN_MAX = 10_000  # open children of one contract
OPEN_CONTRACTS_MAX = 500_000  # of one scheduler; at about 2 KB each, 1 GB
OPEN_BYTES_MAX = 1024**3  # of their requests; larger payloads are blobs, and not in memory
HOST_OFFERED_BYTES_MAX = 8 * 1024**2  # of assignments that a host has not accepted
BATCH_BYTES_MAX = 64 * 1024**2  # that wait for a commit; beyond it nothing is placed or accepted
QUEUE_FULL_RETRY_SECONDS = 1.0
CATALOGUE_ENTRIES_MAX = 20_000  # of one tenant; entries are for ever, at about 2 KB each: 40 MB
SUSPENDED_MAX = 10_000  # suspended attempts of one tenant, beyond which no root is started
RETENTION_SECONDS = 7 * 24 * 3600.0  # an ended contract is found for so long
RETENTION_SECONDS_MIN = (
    24 * 3600.0
)  # a request_id is kept with its contract, and at least that long
RETENTION_SWEEP_SECONDS = 60.0
SETTLED_MARK_SECONDS = 10.0  # how often is noted how far back there is nothing open
SETTLED_OPEN_MAX = 256  # older contracts of a shard that are open all the same: 2 KiB of its note
HOUSEKEEPING_RETRY_SECONDS = 1.0
COUNT_WAIT_SECONDS = 2.0  # statistics wait so long for what has been taken over to be counted
RETENTION_TRIM_MAX = 500  # contracts of one transaction; about 5 ms of the writer's time
LOG_BYTES_KEPT_MAX = 64 * 1024  # per attempt
QUESTION_BYTES_MAX = 64 * 1024  # with its choices and schema; in memory while it is open
QUESTIONS_PER_CONTRACT_MAX = 32  # whose answers all travel in an assignment: 512 KiB of its 1 MiB
ANSWER_BYTES_MAX = 16 * 1024
INBOX_PAGE_BYTES_MAX = 1024 * 1024  # of one scheduler; several send one of these each
INBOX_BACKLOG_MAX = 20_000  # changes that a watcher of the inbox may be behind

# --- workflows ------------------------------------------------------------------------------------

WORKFLOW_ITEMS_MAX = 10_000  # of one step with for_each
WORKFLOW_FILE_BYTES_MAX = 1024 * 1024  # of YAML; 256 steps at 4 KiB
WORKFLOW_EXPRESSIONS_MAX = 10_000  # at 50 µs of checking each: 0.5 s
EXPRESSION_COST_MAX = 20_000_000  # of 10 ns each: 0.2 s of a scheduler's time, at the very worst
QUESTION_BYTES_MAX = 8192

# --- schedules ------------------------------------------------------------------------------------

SCHEDULES_MAX = 10_000  # of one scheduler; at most 16 KiB each, 160 MB
SCHEDULE_SPEC_BYTES_MAX = 16 * 1024  # larger inputs are blobs
SCHEDULE_LOOK_SECONDS = 1.0  # a clock that is moved, and shards that are, are noticed this soon
SCHEDULE_RETRY_SECONDS = 1.0  # before a tick is tried again that the mesh had no room for
SCHEDULE_STEPS_AT_ONCE_MAX = 100  # of one schedule, before others and the event loop have a turn
SCHEDULE_CATCH_UP_DEFAULT_SECONDS = 600.0
SCHEDULE_QUEUE_DEFAULT = 10  # ticks that wait for an earlier one
SCHEDULE_RUNNING_MAX = 64  # started by one schedule and kept in mind; more are not triggered
SCHEDULE_TRIGGERS_KEPT = 16  # triggers that a call that comes again finds
SCHEDULE_FOLD_MAX = 2_000  # instants counted at a time; of cron 5 to 45 ms
SCHEDULE_TICKS_KEPT = 1_000  # entries of one schedule's history …
SCHEDULE_TICKS_TRIM = 100  # … and so many more before the oldest are forgotten together
SCHEDULE_NEXT_TIMES = 10  # instants that a schedule shows
SCHEDULE_LABELS = 2  # that the mesh adds to a request's

# --- conversations, memory, agents' state ---------------------------------------------------------

CONVERSATION_PAGE_SIZE_DEFAULT = 20
CONVERSATION_PAGE_SIZE_MAX = 100  # at 3 KB each with 32 participants, 300 KB
CONVERSATION_COUNTED_MAX = 1_000  # contracts of one that are counted, at 12 µs: 12 ms
CONVERSATION_SCAN_MAX = (
    5_000  # contracts looked at for one page of them: 20 ms where 60,000 are in one
)
PARTICIPANTS_MAX = 32  # named of a conversation; × 400 bytes at most, 13 KB
SEARCH_CONTRACTS_MAX = 2_000  # read for one page of a search …
SEARCH_BYTES_MAX = 8 * 1024**2  # … and bytes of them: 60 to 90 ms of the scheduler's time, in parts
SEARCH_READ_AT_ONCE = 50  # in between, others have their turn; of 64 KiB twice, 6.4 MB
SEARCH_BLOCKS_MAX = 500  # memory blocks read for one page, of up to 120 KB …
SEARCH_BLOCKS_AT_ONCE = 20  # … and at once
TRACE_PAGE_SIZE_DEFAULT = 500
TRACE_PAGE_SIZE_MAX = 1_000  # entries of at most 1.1 KB: 1.1 MB; usually 0.2, in 60 ms
MEMORY_TEXT_BYTES_MAX = 8 * 1024  # of one block: 2,000 tokens of a language model
MEMORY_BLOCK_CONTRACTS_MAX = 200  # of one block: 120 KB, and 110 ms to make, 65 of them in a thread
MEMORY_BLOCKS_PER_CALL_MAX = 16  # 3,200 contracts, then the caller goes on
MEMORY_BLOCKS_PER_CONVERSATION_MAX = 5_000  # 1,000,000 contracts; then start another conversation
MEMORY_QUESTIONS_MAX = 16  # kept in a block, × 0.8 KB
MEMORY_SKEW_SECONDS = 10.0  # by which ids of different schedulers may be out of order
MEMORY_SUMMARIZER_SECONDS = 60.0  # that a block waits for a summarizer, unless another is named
MEMORY_SWEEP_SECONDS = 5.0  # how often it is looked for conversations that are quiet
MEMORY_WAITING_MAX = 10_000  # conversations that were not quiet yet, or had open contracts
AGENT_STATE_BYTES_MAX = 64 * 1024  # of one value; more is a blob
AGENT_STATES_PER_AGENT_MAX = 1_000  # × 64 KiB: 64 MB

# --- modes of agents ------------------------------------------------------------------------------

PLAN_TASKS_MAX = 256  # of one step of a plan; all are begun at once
PLAN_STEPS_MAX = 64  # of one plan; as many questions as a contract may have, and as many rounds
AUTONOMOUS_RETRIES_MAX = 2  # of one task, so three attempts in all
AUTONOMOUS_TASKS_MAX = 10_000  # of one contract, with a report of each; × 3 children
IDLE_SECONDS_DEFAULT = 600.0  # without an event, until a continuous agent sleeps
MIND_EVENTS_REMEMBERED = 512  # by 19 bytes: 10 KB; it holds two unacknowledged ones of a pattern
MIND_HISTORY_DEFAULT = 50  # entries
MIND_HISTORY_MAX = 500  # × 128 bytes fill what may be kept; longer ones are fewer
MIND_NOTE_BYTES_MAX = 1024  # of one entry

# --- ids ------------------------------------------------------------------------------------------

SHARDS = 64
EPOCH_COUNT_BITS = 32
EPOCH_GENERATION_BITS = 21

# --- workflows ------------------------------------------------------------------------------------

WORKFLOW_VERSIONS_KEPT_MAX = 1_000  # compiled, at about 50 KB each: 50 MB
RUNS_OPEN_MAX = 20_000  # of one scheduler, at about 10 KB and 1 KB for each step: 400 MB
RUNS_RECENT_BYTES_MAX = 16 * 1024**2  # that have just ended: about 1,000 small ones
RUN_ITEMS_TOLD_MAX = 1_000  # of one step, in one answer
RUN_EVENTS_MAX = 100_000  # of one journal: ten retries of the largest step
RUN_SIGNALS_WAITING_MAX = 1_000  # that no step has taken; more are refused
RUN_DEPTH_MAX = 16  # runs within runs
RUN_SECONDS_MAX = 30 * 24 * 3600.0
RUN_BLOB_READ_BYTES_MAX = 4 * 1024 * 1024  # of a step's output, where an expression looks into it
RUN_RETRY_SECONDS = 0.25  # pause before what could not be done now is tried again
RUN_WANTS_PER_TURN = 8  # of all runs, at about 0.2 ms each, before others have their turn
RUN_WATCHERS_MAX = 1_000
RUN_WATCHER_EVENTS_MAX = 10_000  # a watcher that is farther behind goes on from its cursor
FEED_ENTRIES_MAX = 512  # of a run, not told to its engine's worker yet; beyond it they are loaded
FEED_ENTRIES_KEPT = 16  # of a run, for answers: 20,000 runs at 16 x 300 bytes are 100 MB
FEED_FRAME_BYTES_MAX = 256 * 1024
FEED_UNSURE_SECONDS = 20.0  # twice Temporal's workflow task timeout, in which a worker may stall
FEED_SWEEP_SECONDS = 5.0
ENGINE_ENTRIES_BYTES_MAX = 512 * 1024  # of an answer or a signal; Temporal takes 2 MB
ENGINE_WANTS_MAX = 1_024  # of one call: 256 steps, each with two or three
ENGINE_ITEMS_PER_TURN = 100  # at about 0.2 ms each, before others have their turn
ENGINE_SUMMARY_CHARS_MAX = 200  # of what Temporal shows to people; it takes 400 bytes
ENGINE_SIGNALS_AT_ONCE = 32  # of one worker
ENGINE_CALLS_AT_ONCE = 100  # of one worker to its schedulers
ENGINE_WORKFLOWS_CACHED_MAX = 2_000  # of one worker, at about 50 KB each: 100 MB
ENGINE_STICKY_SECONDS = 3.0  # until another worker takes what one that is gone had begun
ENGINE_STOP_SECONDS = 3.0  # for what is being asked of schedulers
ENGINE_BACKOFF_SECONDS_MIN = 0.1
ENGINE_BACKOFF_SECONDS_MAX = 5.0
ENGINE_PROBE_SECONDS = 2.0  # how often a worker looks whether Temporal is there
ENGINE_LOOK_SECONDS = 60.0  # how often for runs that Temporal has lost, without having been away
ENGINE_LISTED_SECONDS = 3.0  # until what was started is listed, amply

# --- watchers -------------------------------------------------------------------------------------

WATCHER_BACKLOG_MAX = 20_000  # frames' worth of items before a watcher is told to resume (≤ 8 MB)
WATCHER_BACKLOG_BYTES_MAX = 4 * 1024 * 1024  # of stream items; gRPC holds as much again
WATCHERS_MAX = 1_000
WATCHERS_AT_ONCE = 10  # of many contracts, who get each event as it comes; more share …
WATCH_FRAMES_PER_SECOND_MAX = 2_000  # … so many frames, at about 0.1 ms: a fifth of a core
WAIT_DEFAULT_SECONDS = 60.0
STREAM_BACKLOG_MAX = 100_000  # responses waiting on one submit stream
STREAM_BACKLOG_BYTES_MAX = 2 * 1024 * 1024  # of these; more wait in the ledger, at 8 bytes each
SUBMIT_STREAM_OPEN_MAX = 100_000  # contracts that one submit stream waits for

# --- the bus --------------------------------------------------------------------------------------

BUS_BATCH_MAX = 1_024  # messages on their way to it; at 0.25 ms each where it syncs, 0.26 s
BUS_UNPUBLISHED_MAX = 8_192  # in memory at about 0.5 KB each; more wait in the ledger
BUS_MARK_SECONDS = 1.0  # how often the ledger is told how far publishing is; so much comes twice
BUS_RETRY_SECONDS = 0.5  # pause after messages that were not acknowledged
BUS_STOP_SECONDS = 2.0  # who stops publishes what is left, if the bus takes it
BUS_KEPT_SECONDS = 7 * 24 * 3600.0  # as long as contracts are found
BUS_KEPT_BYTES_MAX = 8 * 1024**3  # about 10 million events; the oldest go first
BUS_EMBEDDED_BYTES_MAX = 16 * 1024**2  # kept in memory where there is no server for it
BUS_IDS_MAX = 100_000  # remembered there; at about 150 bytes, 15 MB
BUS_REPLAY_CONTRACTS = 200  # read at a time, with up to 64 KiB of request and response each
BUS_DUPLICATES_SECONDS = 120.0  # the server remembers ids so long; 4,000/s are about 60 MB there

# --- agents' events and topics --------------------------------------------------------------------

EVENT_SUBSCRIPTIONS_PER_SESSION_MAX = 20_000  # at about 0.5 KB each, 10 MB
EVENT_PATTERNS_PER_TENANT_MAX = 256  # at one executor; each is a subscription of the bus
EVENT_PATTERNS_MAX = 2_048  # of all tenants; at 64 KiB each 128 MiB, more where agents are slow
EVENT_GROUPS_KEPT_PER_TENANT_MAX = 1_024  # the bus keeps a consumer of each for a week
EVENT_RING_EVENTS_MAX = 4_096  # of one pattern, for agents that are slower than events come …
EVENT_RING_BYTES_MAX = 1024 * 1024  # … and of so many bytes; beyond it they miss the oldest
EVENT_RING_KEPT_EVENTS = 256  # that everybody has had, for agents that come back …
EVENT_RING_KEPT_BYTES = 64 * 1024  # … and so many bytes; at 256 patterns 16 MiB a tenant
EVENT_CATCH_UPS_MAX = 16  # at once, of one executor: agents that begin with what is past
EVENT_CATCH_UP_WAIT_SECONDS = 5.0  # for the slowest of those that catch up together
EVENT_LINGER_SECONDS = 10.0  # a pattern stays that nobody wants, for agents that come back
EVENT_RETRY_SECONDS = 0.5  # pause before a subscription is tried again that the bus did not take
EVENTS_UNACKED_BROADCAST_DEFAULT = 32
EVENTS_UNACKED_COMPETING_DEFAULT = 8
EVENTS_UNACKED_MAX = 256  # of one subscription of one agent
EVENT_ACK_SECONDS = 60.0  # an event of a group that is not acknowledged goes to another agent then
EVENT_HOLD_SECONDS = 15.0  # the bus gives it to another executor when this one says nothing …
EVENT_HOLD_RENEW_SECONDS = 4.0  # … and this is how often it says something
EVENT_DELIVERIES_MAX = 5  # of one event to a group, the failed ones included
EVENT_GROUP_FORGET_SECONDS = 7 * 24 * 3600.0  # as long as events are kept
EVENT_AGENTS_MAX = 256  # of one delivery or acknowledgement; at 128 characters 32 KiB
EVENT_ACKS_PER_FRAME_MAX = 65_536  # agents × sequences; about 40 ms
EVENT_FRAME_BYTES_MIN = 16 * 1024  # of a frame that is otherwise full of assignments: a quarter
PUBLISHES_UNACKED_MAX = 256  # of one host; 64 KiB each are 16 MiB
PUBLISHES_WAITING_MAX = 8_192  # of one executor …
PUBLISHES_WAITING_BYTES_MAX = 64 * 1024**2  # … while the bus takes nothing; more is refused
PUBLISH_SECONDS_DEFAULT = 15.0  # the SDK tries for so long
PUBLISHED_DATA_BYTES_MAX = 64 * 1024
EVENT_HANDLER_TRIES = 3  # of one event at one agent, before the agent says that it failed

# --- registrations without a session --------------------------------------------------------------

REGISTRATION_SECONDS_DEFAULT = 30.0
REGISTRATIONS_MAX = 100_000
AGENT_CHANGES_KEPT_MAX = 100_000  # presence changes kept for watchers to resume
SPECS_SHARED_MAX = 256  # what agents have in common is kept once for so many different kinds …
SPEC_SHARED_BYTES_MAX = 16 * 1024  # … of at most this size: 4 MiB, also when they are all gone

# --- the agent SDK --------------------------------------------------------------------------------

RECONNECT_SECONDS_MIN = 0.2  # doubling with each failure, with full jitter
RECONNECT_SECONDS_MAX = 5.0
CHANNEL_FAILURES_MAX = 3  # connections in a row that fail before a new channel is made
WORKERS_DEFAULT_MAX = 2  # processes of one host that compute at a time, if it does not say
WORKERS_SUSPENDED_MAX = 64  # at 12 MB each; beyond it only the deepest start: 8 levels × workers
WORKER_IDLE_SECONDS = 30.0
WORKER_STOP_SECONDS = 2.0  # from cancel to kill
FAILURE_MESSAGE_BYTES_MAX = 8192
THREADS_MAX = 64  # of one host, for capabilities that only wait
SUBMIT_STREAM_OPEN_BYTES_MAX = 256 * 1024 * 1024  # what a client keeps to submit it again
LEAVE_SECONDS_DEFAULT = 30.0  # a host that stops finishes what it holds in this time
PRESENCE_AGENTS_MAX = 500_000  # of one registry; at about 1 KB each, 500 MB
PRESENCE_GRACE_SECONDS = 6.0  # an executor's next try comes within 5 s; its agents stay that long

# --- processes, and the command line --------------------------------------------------------------

RESTART_SECONDS_MIN = 0.2  # doubling with each death that comes soon; the first restart is at once
RESTART_SECONDS_MAX = 5.0
RESTART_STEADY_SECONDS = 10.0  # who ran this long did not die soon
PROCESS_LOG_BYTES_MAX = 16 * 1024 * 1024  # then it is moved aside; × 2 for each process
PROCESS_LOG_CHECK_SECONDS = 10.0
SERVICE_START_SECONDS = 30.0  # from start to SERVING; 1 s is usual, a busy disk slower
SERVICE_STOP_SECONDS = 8.0  # drain_seconds, and as much again for what comes after it
SERVER_START_SECONDS = 60.0  # of PostgreSQL, NATS, …: they replay their logs after a crash
SERVER_STOP_SECONDS = 15.0  # a checkpoint of PostgreSQL; its data survives what comes then
KILL_SECONDS = 5.0  # from SIGKILL until a process is gone; longer only if its disk hangs
HOST_STOP_SECONDS = 10.0  # a host that stops with its mesh finishes what it can in this time
RAY_STOP_SECONDS = 15.0  # for Ray to end its processes, once no host is left
HOST_LEAVE_SHARE = 0.8  # of the time until it is killed
HOST_LEAVE_SECONDS = HOST_LEAVE_SHARE * HOST_STOP_SECONDS
FLEET_CONNECT_SECONDS = 60.0  # from start until every agent of a fleet is there
REPLICAS_MAX = 8  # of each service on one machine, each with 30 ports from the first
FLEET_AGENTS_MAX = 100_000
FLEET_HOSTS_MAX = 256
FLEET_FILE_BYTES_MAX = 1024 * 1024
COMMAND_SECONDS = 10.0  # for one answer of the mesh to a command
CONNECT_SECONDS = 3.0  # until a mesh that does not answer is taken for absent
CALL_SECONDS_DEFAULT = 600.0  # the deadline of what a person asks for at a terminal

# --- scaling --------------------------------------------------------------------------------------

SCALING_LOOK_SECONDS = 1.0  # how often the scheduler is asked; it gives counting 5 % of its time
SCALING_WAIT_SECONDS = 1.0  # a contract that has waited longer for an agent is a reason to grow
SCALING_CALM_SECONDS = 60.0  # without need, before a host leaves; to start one takes two
SCALING_GAP_SECONDS = (
    15.0  # without a look; what happened meanwhile is unknown, so calm starts anew
)
SCALING_LEAVE_SECONDS = 5.0  # between two steps downwards …
SCALING_LEAVE_SHARE = 0.25  # … of so many of the hosts, at least one
SCALING_LOAD_SHARE = 0.7  # of the slots left when hosts leave; the rest is the hysteresis
STATISTICS_TIME_SHARE = 0.05  # of a scheduler's time that counting contracts may take
EXTERNAL_SCALER_PAUSE_SECONDS = 1.0  # between two looks after events, for each who is told
POOL_DRAIN_SECONDS = 30.0  # a host that is one too many finishes what it holds in this time
POOL_DRAIN_SECONDS_MAX = 3600.0

# --- the directory --------------------------------------------------------------------------------

DIRECTORY_PROBE_SECONDS = 2.0  # Consul asks each service this often, at about 1 ms of its time
DIRECTORY_TTL_SECONDS = 60.0  # agents whose registry has gone, and no other took over
DIRECTORY_RENEWALS_PER_TTL = 2  # 620 agents: a renewal each within 30 s, 21 calls a second
DIRECTORY_FORGET_SECONDS = 60.0  # Consul takes the critical out then; it allows no less
DIRECTORY_AGENTS_MAX = 1_000  # 35 renewals a second; beyond it hosts are registered, not agents
DIRECTORY_READ_SECONDS = 4.0  # pause between two looks at whether everything is there still
DIRECTORY_CHANGES_AT_ONCE = 64  # of one call to another thread: about 0.1 s
DIRECTORY_CALL_SECONDS = 3.0  # until a Consul that says nothing is taken for absent
DIRECTORY_WAIT_SECONDS = 60.0  # of one blocking query, which changes end at once
DIRECTORY_LEAVE_SECONDS = 2.0  # for taking oneself out on the way out; time does the rest
DIRECTORY_META_BYTES_MAX = 512  # of one value; Consul's own limit

# --- telemetry ------------------------------------------------------------------------------------

SPANS_WAITING_MAX = 2_048  # for the receiver of traces, at about 1 KB each; beyond it they drop
SPANS_EXIT_SECONDS = 1.5  # a process that ends tries for so long to get rid of what waits
CAPABILITIES_MEASURED_MAX = 50  # have series of their own; the others are counted together
KINDS_MEASURED_MAX = 50  # of agents; the same
LOOP_LAG_PERIOD_SECONDS = 0.25  # how often it is looked how late the event loop is
