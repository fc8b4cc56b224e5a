-- The row `sqlite`: a database in memory; @N@ is the number of its rows.
CREATE TABLE person(id INTEGER PRIMARY KEY, town INTEGER, income REAL, name TEXT);
CREATE TABLE town(id INTEGER PRIMARY KEY, name TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO town SELECT i, printf('town %d', i * 7919 % 1009) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @N@)
INSERT INTO person SELECT i, i * 31 % 500 + 1, i * 7919 % 10007 * 1.5, printf('%x-%s', i * 2654435761 % 4294967296, char(65 + i % 26)) FROM n;
COMMIT;
CREATE INDEX person_town ON person(town);
CREATE INDEX person_name ON person(name);
SELECT count(*), round(sum(income), 3), min(name), max(name) FROM person;
SELECT town.name, count(*), round(avg(income), 3) AS mean FROM person JOIN town ON town.id = person.town GROUP BY town.id ORDER BY mean DESC, town.name LIMIT 20;
SELECT count(*) FROM person a JOIN person b ON a.name > b.name AND a.town = b.town WHERE a.id % 97 = 0;
SELECT substr(name, -1), count(*) FROM person WHERE name LIKE '%a%' AND income BETWEEN 3000 AND 9000 GROUP BY 1 ORDER BY 1;
UPDATE person SET income = income * 1.1 WHERE town < 100;
DELETE FROM person WHERE id % 3 = 0;
SELECT id, upper(name) FROM person ORDER BY income DESC, id LIMIT 30;
SELECT count(DISTINCT town), round(total(income), 3) FROM person;
