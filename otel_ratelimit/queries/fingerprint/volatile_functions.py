"""Functions whose result differs from call to call, or that write: a cache must not answer their queries.

PostgreSQL's documentation: "Function Volatility Categories"; `pg_proc.provolatile`.
"""

from __future__ import annotations

from typing import Final

WRITING_CALLS: Final = frozenset(
    """nextval setval set_config pg_notify pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock
    pg_advisory_unlock_all pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
    pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
    pg_try_advisory_xact_lock_shared pg_cancel_backend pg_terminate_backend pg_reload_conf
    lo_create lo_creat lo_unlink lo_put lo_from_bytea lo_import lo_open lo_truncate lo_truncate64 lowrite
    dblink dblink_exec dblink_send_query pg_logical_emit_message query_to_xml cursor_to_xml pg_switch_wal
    pg_create_restore_point pg_rotate_logfile pg_stat_reset pg_stat_reset_shared pg_stat_statements_reset
    pg_drop_replication_slot pg_replication_slot_advance pg_logical_slot_get_changes
    """.split()
)

VOLATILE_CALLS: Final = frozenset(
    """now random random_normal setseed clock_timestamp statement_timestamp transaction_timestamp timeofday
    gen_random_uuid gen_random_bytes uuidv4 uuidv7 uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 age
    txid_current txid_current_snapshot pg_current_xact_id pg_current_snapshot pg_backend_pid currval lastval
    pg_sleep pg_sleep_for pg_sleep_until pg_stat_get_activity pg_locks inet_client_addr inet_client_port
    current_setting current_schema current_schemas current_database current_query pg_postmaster_start_time
    pg_conf_load_time pg_is_in_recovery pg_last_wal_receive_lsn pg_current_wal_lsn
    """.split()
)

VOLATILE_WORDS: Final = frozenset(
    """current_timestamp current_date current_time localtime localtimestamp current_user session_user
    current_role user system_user current_schema
    """.split()
)
"""Functions that are called without parentheses."""
