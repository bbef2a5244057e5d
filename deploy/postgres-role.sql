-- The database user of maintenance on Postgres, with exactly what it needs and nothing else of the shop.
--
-- Run it with psql in the shop's database, as the owner of the shop's tables, and give the user a password:
--
--   psql "$SHOP_DATABASE" --file postgres-role.sql
--   psql "$SHOP_DATABASE" --command '\password mika_ops'
--
-- To create the user takes the right CREATEROLE as well. Without it, have an administrator create the user first. The
-- script stops at its first error, and then nothing is changed.
--
-- Where row-level security is enabled on these tables, the user also needs BYPASSRLS, which a superuser grants:
-- ALTER ROLE mika_ops BYPASSRLS. Without it, Postgres refuses to show the rows, and maintenance fails.
--
-- Where the tables are in another schema than public, name it here and in the user's search_path. What changes tables,
-- `mika-ops db prepare`, is run by their owner; run this file again after it.

\set ON_ERROR_STOP on

BEGIN;

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mika_ops') THEN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)) THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('%I may not create the user mika_ops: it lacks the right CREATEROLE', current_user),
                HINT = 'Run this as a user with CREATEROLE, or have an administrator run: CREATE ROLE mika_ops LOGIN '
                    'CONNECTION LIMIT 40. Then run this again as the owner of the tables.';
        END IF;
        CREATE ROLE mika_ops LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 40;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO mika_ops', current_database());
END $$;

GRANT USAGE ON SCHEMA public TO mika_ops;

-- Documents are read and changed, never made and never deleted.
GRANT SELECT, UPDATE (data, updated_at) ON _plugin_storage TO mika_ops;

-- Expired reservations are marked, and what they held is given back.
GRANT SELECT, UPDATE (quantity_reserved, updated_at) ON mika_stock_items TO mika_ops;
GRANT SELECT, UPDATE (status, idempotency_key, updated_at) ON mika_stock_events TO mika_ops;

-- Expired rows are deleted; a right to update one column is what locking a row asks for.
GRANT SELECT, UPDATE (updated_at), DELETE ON mika_ephemeral_records TO mika_ops;

-- ACP checkout sessions, where `mika-ops db prepare` has made their tables.
DO $$ BEGIN
    IF to_regclass('mika_acp_sessions') IS NOT NULL THEN
        GRANT SELECT, UPDATE (status, expires_at, expired_at, purge_at, updated_at, version, data), DELETE
            ON mika_acp_sessions TO mika_ops;
        GRANT SELECT, DELETE ON mika_acp_idempotency_keys TO mika_ops;
        GRANT SELECT ON mika_ops_schema TO mika_ops;
    END IF;
END $$;

COMMIT;
