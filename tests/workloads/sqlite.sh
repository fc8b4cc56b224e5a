# A database: integer, text and floating-point functions, sorting and joins.
sqlite3 test.db <<'SQL'
.bail on
CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b REAL, c TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO t SELECT i, (i * 7919) % 10007, sin(i) * exp((i % 40) - 20), printf('%x-%s', i * 2654435761 % 4294967296, char(65 + i % 26)) FROM n;
CREATE INDEX ta ON t(a);
CREATE INDEX tc ON t(c);
SELECT count(*), sum(a), printf('%.17g', sum(b)), printf('%.17g', avg(b)), min(c), max(c) FROM t;
SELECT a % 13, count(*), printf('%.17g', total(b)), group_concat(DISTINCT substr(c, -1)) FROM t WHERE id < 3000 GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM t x JOIN t y ON x.a = y.a WHERE x.id < y.id AND x.c < y.c;
SELECT printf('%.17g %.17g %.17g', pow(b, 2), sqrt(abs(b)), atan2(b, a)) FROM t WHERE id % 6007 = 0;
SELECT hex(c), upper(c), instr(c, '-'), quote(b) FROM t WHERE id % 9001 = 0 ORDER BY c DESC;
UPDATE t SET b = b / 3 WHERE a BETWEEN 1000 AND 2000;
DELETE FROM t WHERE id % 3 = 0;
VACUUM;
PRAGMA integrity_check;
SELECT count(*), printf('%.17g', sum(b)) FROM t;
SQL
sha256sum < test.db
