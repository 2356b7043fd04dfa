-- So far the name under which a contact was added counted as one that its owner had chosen. Where it is what the contact calls
-- itself it is the contact's own, and follows it from now on. (A phone contact has no account, and keeps its name.)
UPDATE roster SET own_name = label, label = NULL
WHERE label = (SELECT friendly_name FROM accounts WHERE passport = roster.contact);

UPDATE roster SET label = NULL WHERE label = own_name;
