-- The last change of each subscription there ever was, in the order of changes.
CREATE TABLE subscription_changes (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
INSERT INTO subscription_changes (name) SELECT name FROM subscriptions;
