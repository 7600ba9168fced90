-- The analysts' views. They show what is published and nothing else. `lexicon` and `dictionary` are name@version in all
-- of them. Comments are the reference: docs/analytics.md repeats them, and a test compares the two.
--
-- Tables whose columns a query may leave out are joined by LEFT JOIN on their key: the planner then drops the join where
-- no column of theirs is asked for, and foreign keys say that no row is missing. What is counted over a whole lexicon is
-- LATERAL, so that a condition on the lexicon or the dictionary keeps the others from being counted.
--
-- All are security barriers: without, a condition with a function of the analyst's own, or one that fails and says of
-- what, may be asked of rows of drafts before the view leaves them out. Comparisons still reach the indexes.

CREATE VIEW analytics.lexicons WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, l.name, l.version, l.created_at
FROM public.lexicons l
WHERE l.state = 'published';

COMMENT ON VIEW analytics.lexicons IS 'Lexicons: versions of a set of relations';
COMMENT ON COLUMN analytics.lexicons.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.lexicons.name IS 'its name';
COMMENT ON COLUMN analytics.lexicons.version IS 'its version';
COMMENT ON COLUMN analytics.lexicons.created_at IS 'when it was loaded';

CREATE VIEW analytics.dictionaries WITH (security_barrier) AS
SELECT d.name || '@' || d.version AS dictionary, l.name || '@' || l.version AS lexicon, d.name, d.version, d.teacher,
       d.dim, d.k, d.key_policy, d.vocabulary_size, d.senses, d.tokens_with_senses, d.words_with_senses, d.published_at
FROM public.dictionaries d
LEFT JOIN public.lexicons l ON l.id = d.lexicon_id
WHERE d.state = 'published';

COMMENT ON VIEW analytics.dictionaries IS 'Dictionaries: versions of a teacher''s senses, each over one lexicon';
COMMENT ON COLUMN analytics.dictionaries.dictionary IS 'name@version';
COMMENT ON COLUMN analytics.dictionaries.lexicon IS 'the lexicon it names';
COMMENT ON COLUMN analytics.dictionaries.name IS 'its name';
COMMENT ON COLUMN analytics.dictionaries.version IS 'its version';
COMMENT ON COLUMN analytics.dictionaries.teacher IS 'the language model that the senses are of';
COMMENT ON COLUMN analytics.dictionaries.dim IS 'dimensions of a vector';
COMMENT ON COLUMN analytics.dictionaries.k IS 'most senses of a token or word';
COMMENT ON COLUMN analytics.dictionaries.key_policy IS 'which token a state counts for: next, predicted or input';
COMMENT ON COLUMN analytics.dictionaries.vocabulary_size IS 'tokens of the teacher';
COMMENT ON COLUMN analytics.dictionaries.senses IS 'number of senses';
COMMENT ON COLUMN analytics.dictionaries.tokens_with_senses IS 'number of tokens that have any';
COMMENT ON COLUMN analytics.dictionaries.words_with_senses IS 'number of words that have any';
COMMENT ON COLUMN analytics.dictionaries.published_at IS 'when it was published';

CREATE VIEW analytics.sources WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, s.*
FROM public.lexicons l
CROSS JOIN LATERAL (
    SELECT s.name AS source, s.version AS source_version, s.licence,
           coalesce(r.listed, 0) AS listed, coalesce(r.derived, 0) AS derived,
           (SELECT count(*) FROM public.glosses g WHERE g.lexicon_id = l.id AND g.source_id = s.id) AS glosses,
           (SELECT count(*) FROM public.forms f WHERE f.lexicon_id = l.id AND f.source_id = s.id) AS forms,
           (SELECT count(*) FROM public.segmentations m WHERE m.source_id = s.id) AS segmentations,
           s.skipped, s.counted
    FROM public.relation_sources s
    LEFT JOIN (
        SELECT r.source_id, count(*) FILTER (WHERE r.rule IS NULL) AS listed, count(r.rule) AS derived
        FROM public.relations r
        WHERE r.lexicon_id = l.id
        GROUP BY r.source_id
    ) r ON r.source_id = s.id
    WHERE s.lexicon_id = l.id
) s
WHERE l.state = 'published';

COMMENT ON VIEW analytics.sources IS 'Sources of lexicons, with licences and what each gave';
COMMENT ON COLUMN analytics.sources.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.sources.source IS 'its name in the lexicon';
COMMENT ON COLUMN analytics.sources.source_version IS 'which edition of it';
COMMENT ON COLUMN analytics.sources.licence IS 'its licence';
COMMENT ON COLUMN analytics.sources.listed IS 'relations that it lists';
COMMENT ON COLUMN analytics.sources.derived IS 'relations derived from those';
COMMENT ON COLUMN analytics.sources.glosses IS 'glosses that it gives';
COMMENT ON COLUMN analytics.sources.forms IS 'inflected forms that it lists';
COMMENT ON COLUMN analytics.sources.segmentations IS 'words that it takes apart';
COMMENT ON COLUMN analytics.sources.skipped IS 'reason to count, of what was not taken from it';
COMMENT ON COLUMN analytics.sources.counted IS 'what else was counted while it was read';

CREATE VIEW analytics.relations WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, r.id AS relation_id, r.word_id, a.text AS word, r.other_id,
       b.text AS other, r.type, r.directed, r.pos,
       (SELECT array_agg(g.text ORDER BY g.id)
        FROM public.relation_glosses rg JOIN public.glosses g ON g.id = rg.gloss_id
        WHERE rg.relation_id = r.id) AS glosses,
       (SELECT array_agg(CASE WHEN g.word_id = r.word_id THEN a.text ELSE b.text END ORDER BY g.id)
        FROM public.relation_glosses rg JOIN public.glosses g ON g.id = rg.gloss_id
        WHERE rg.relation_id = r.id) AS gloss_words,
       s.name AS source, s.version AS source_version, s.licence, v.name AS via, v.licence AS via_licence,
       r.rule IS NOT NULL AS derived, r.rule, r.parent_id, r.conflict
FROM public.relations r
JOIN public.lexicons l ON l.id = r.lexicon_id AND l.state = 'published'
LEFT JOIN public.relation_sources s ON s.id = r.source_id
LEFT JOIN public.relation_sources v ON v.id = r.via_id
LEFT JOIN public.words a ON a.id = r.word_id
LEFT JOIN public.words b ON b.id = r.other_id;

COMMENT ON VIEW analytics.relations IS 'Relations, each once, as a source lists it or as it was derived';
COMMENT ON COLUMN analytics.relations.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.relations.relation_id IS 'number of the relation';
COMMENT ON COLUMN analytics.relations.word_id IS 'number of the word';
COMMENT ON COLUMN analytics.relations.word IS 'one end; of a directed relation the one it runs from';
COMMENT ON COLUMN analytics.relations.other_id IS 'number of the other word';
COMMENT ON COLUMN analytics.relations.other IS 'the other end';
COMMENT ON COLUMN analytics.relations.type IS 'synonym, antonym, negation, reversal, hypernym … or the source''s own';
COMMENT ON COLUMN analytics.relations.directed IS 'whether it runs from word to other and not back';
COMMENT ON COLUMN analytics.relations.pos IS 'part of speech, where the source has it';
COMMENT ON COLUMN analytics.relations.glosses IS 'the senses that the source lists it under, where it has any';
COMMENT ON COLUMN analytics.relations.gloss_words IS 'which of the two words each gloss is of';
COMMENT ON COLUMN analytics.relations.source IS 'who lists it, or what it was derived from';
COMMENT ON COLUMN analytics.relations.source_version IS 'which edition of the source';
COMMENT ON COLUMN analytics.relations.licence IS 'licence of the source';
COMMENT ON COLUMN analytics.relations.via IS 'whose segmentations a derived relation leans on';
COMMENT ON COLUMN analytics.relations.via_licence IS 'licence of those segmentations';
COMMENT ON COLUMN analytics.relations.derived IS 'whether it was derived';
COMMENT ON COLUMN analytics.relations.rule IS 'how it was derived';
COMMENT ON COLUMN analytics.relations.parent_id IS 'relation_id of what it was derived from; empty where the lexicon leaves that out';
COMMENT ON COLUMN analytics.relations.conflict IS 'whether the pair is both synonym and antonym';

-- Two halves, not one join with a table of two rows: a condition on the word reaches the tables. And they are one table
-- of the view, for PostgreSQL heeds no barrier around a bare UNION ALL.
CREATE VIEW analytics.word_relations WITH (security_barrier) AS
SELECT u.*
FROM (
    SELECT l.name || '@' || l.version AS lexicon, r.id AS relation_id, r.word_id, a.text AS word, r.other_id,
           b.text AS other, r.type, CASE WHEN r.directed THEN 'out' ELSE 'both' END AS direction, r.pos,
           (SELECT array_agg(g.text ORDER BY g.id)
            FROM public.relation_glosses rg JOIN public.glosses g ON g.id = rg.gloss_id
            WHERE rg.relation_id = r.id AND g.word_id = r.word_id) AS glosses, s.name AS source, s.licence,
           r.rule IS NOT NULL AS derived, r.rule, r.conflict
    FROM public.relations r
    JOIN public.lexicons l ON l.id = r.lexicon_id AND l.state = 'published'
    LEFT JOIN public.relation_sources s ON s.id = r.source_id
    LEFT JOIN public.words a ON a.id = r.word_id
    LEFT JOIN public.words b ON b.id = r.other_id
    UNION ALL
    SELECT l.name || '@' || l.version, r.id, r.other_id, b.text, r.word_id,
           a.text, r.type, CASE WHEN r.directed THEN 'in' ELSE 'both' END, r.pos,
           (SELECT array_agg(g.text ORDER BY g.id)
            FROM public.relation_glosses rg JOIN public.glosses g ON g.id = rg.gloss_id
            WHERE rg.relation_id = r.id AND g.word_id = r.other_id), s.name, s.licence,
           r.rule IS NOT NULL, r.rule, r.conflict
    FROM public.relations r
    JOIN public.lexicons l ON l.id = r.lexicon_id AND l.state = 'published'
    LEFT JOIN public.relation_sources s ON s.id = r.source_id
    LEFT JOIN public.words a ON a.id = r.word_id
    LEFT JOIN public.words b ON b.id = r.other_id
) u;

COMMENT ON VIEW analytics.word_relations IS 'Relations seen from each of their words, so each twice: for counting by word';
COMMENT ON COLUMN analytics.word_relations.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.word_relations.relation_id IS 'number of the relation, the same in both rows';
COMMENT ON COLUMN analytics.word_relations.word_id IS 'number of the word';
COMMENT ON COLUMN analytics.word_relations.word IS 'the word it is seen from';
COMMENT ON COLUMN analytics.word_relations.other_id IS 'number of the other word';
COMMENT ON COLUMN analytics.word_relations.other IS 'the other word';
COMMENT ON COLUMN analytics.word_relations.type IS 'synonym, antonym, negation, reversal, hypernym … or the source''s own';
COMMENT ON COLUMN analytics.word_relations.direction IS 'both; of a directed relation out (from word to other) or in';
COMMENT ON COLUMN analytics.word_relations.pos IS 'part of speech, where the source has it';
COMMENT ON COLUMN analytics.word_relations.glosses IS 'the senses of word that the source lists it under, where it has any';
COMMENT ON COLUMN analytics.word_relations.source IS 'who lists it, or what it was derived from';
COMMENT ON COLUMN analytics.word_relations.licence IS 'licence of the source';
COMMENT ON COLUMN analytics.word_relations.derived IS 'whether it was derived';
COMMENT ON COLUMN analytics.word_relations.rule IS 'how it was derived';
COMMENT ON COLUMN analytics.word_relations.conflict IS 'whether the pair is both synonym and antonym';

-- Not made of the view of relations twice: the planner orders eight tables of a query freely (join_collapse_limit).
CREATE VIEW analytics.derivations WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, r.id AS relation_id, r.word_id, a.text AS word, r.other_id,
       b.text AS other, r.type, s.name AS source, s.licence, r.rule, split_part(r.rule, ':', 1) AS kind,
       regexp_split_to_array(split_part(r.rule, ':', 2), '[+,]') AS affixes, v.name AS via, v.licence AS via_licence,
       r.conflict, r.parent_id, c.text AS parent_word, d.text AS parent_other, p.type AS parent_type
FROM public.relations r
JOIN public.lexicons l ON l.id = r.lexicon_id AND l.state = 'published'
LEFT JOIN public.words a ON a.id = r.word_id
LEFT JOIN public.words b ON b.id = r.other_id
LEFT JOIN public.relations p ON p.id = r.parent_id
LEFT JOIN public.relation_sources s ON s.id = r.source_id
LEFT JOIN public.relation_sources v ON v.id = r.via_id
LEFT JOIN public.words c ON c.id = p.word_id
LEFT JOIN public.words d ON d.id = p.other_id
WHERE r.rule IS NOT NULL;

COMMENT ON VIEW analytics.derivations IS 'Derived relations beside what they come from';
COMMENT ON COLUMN analytics.derivations.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.derivations.relation_id IS 'number of the relation';
COMMENT ON COLUMN analytics.derivations.word_id IS 'number of the word';
COMMENT ON COLUMN analytics.derivations.word IS 'one end';
COMMENT ON COLUMN analytics.derivations.other_id IS 'number of the other word';
COMMENT ON COLUMN analytics.derivations.other IS 'the other end';
COMMENT ON COLUMN analytics.derivations.type IS 'type of the derived relation';
COMMENT ON COLUMN analytics.derivations.source IS 'who lists the relation it comes from';
COMMENT ON COLUMN analytics.derivations.licence IS 'licence of that source';
COMMENT ON COLUMN analytics.derivations.rule IS 'how it was derived: kind and affixes in one';
COMMENT ON COLUMN analytics.derivations.kind IS 'kind of the rule: negation or reversal';
COMMENT ON COLUMN analytics.derivations.affixes IS 'what was cut off, of both words together';
COMMENT ON COLUMN analytics.derivations.via IS 'whose segmentations it leans on';
COMMENT ON COLUMN analytics.derivations.via_licence IS 'licence of those segmentations';
COMMENT ON COLUMN analytics.derivations.conflict IS 'whether the pair is both synonym and antonym';
COMMENT ON COLUMN analytics.derivations.parent_id IS 'relation_id of what it comes from; empty, as the next three, where the lexicon leaves that out';
COMMENT ON COLUMN analytics.derivations.parent_word IS 'one end of that';
COMMENT ON COLUMN analytics.derivations.parent_other IS 'its other end';
COMMENT ON COLUMN analytics.derivations.parent_type IS 'its type';

CREATE VIEW analytics.conflicts WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, r.word_id, a.text AS word, r.other_id, b.text AS other,
       array_agg(DISTINCT s.name) FILTER (WHERE r.type = 'synonym') AS synonym_sources,
       array_agg(DISTINCT s.name) FILTER (WHERE r.type <> 'synonym') AS antonym_sources,
       coalesce(bool_or(r.rule IS NULL) FILTER (WHERE r.type = 'synonym'), false) AS synonym_listed,
       coalesce(bool_or(r.rule IS NULL) FILTER (WHERE r.type <> 'synonym'), false) AS antonym_listed
FROM public.relations r
JOIN public.lexicons l ON l.id = r.lexicon_id AND l.state = 'published'
JOIN public.relation_sources s ON s.id = r.source_id
JOIN public.words a ON a.id = r.word_id
JOIN public.words b ON b.id = r.other_id
WHERE r.conflict
GROUP BY l.name || '@' || l.version, r.word_id, a.text, r.other_id, b.text;

COMMENT ON VIEW analytics.conflicts IS 'Pairs that are both synonyms and antonyms; training leaves them out';
COMMENT ON COLUMN analytics.conflicts.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.conflicts.word_id IS 'number of the word';
COMMENT ON COLUMN analytics.conflicts.word IS 'one of the pair';
COMMENT ON COLUMN analytics.conflicts.other_id IS 'number of the other word';
COMMENT ON COLUMN analytics.conflicts.other IS 'the other of the pair';
COMMENT ON COLUMN analytics.conflicts.synonym_sources IS 'where the synonymy comes from';
COMMENT ON COLUMN analytics.conflicts.antonym_sources IS 'where the antonymy or negation comes from';
COMMENT ON COLUMN analytics.conflicts.synonym_listed IS 'whether a source lists the synonymy; else it is derived alone';
COMMENT ON COLUMN analytics.conflicts.antonym_listed IS 'whether a source lists the antonymy; else it is derived alone';

-- Pairs are grouped once, by who lists them; what follows works on those few groups.
CREATE VIEW analytics.source_overlap WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, o.*
FROM public.lexicons l
CROSS JOIN LATERAL (
    WITH listed AS MATERIALIZED (
        SELECT pair.type, pair.sources, count(*) AS pairs
        FROM (
            SELECT r.type, array_agg(DISTINCT r.source_id) AS sources
            FROM public.relations r
            WHERE r.lexicon_id = l.id AND r.rule IS NULL
            GROUP BY r.type, r.word_id, r.other_id
        ) pair
        GROUP BY pair.type, pair.sources
    ), total AS MATERIALIZED (
        SELECT listed.type, source.id, sum(listed.pairs)::int8 AS pairs
        FROM listed CROSS JOIN unnest(listed.sources) AS source (id)
        GROUP BY listed.type, source.id
    ), met AS MATERIALIZED (
        SELECT listed.type, one.id, two.id AS other_id, sum(listed.pairs)::int8 AS shared
        FROM listed CROSS JOIN unnest(listed.sources) AS one (id) CROSS JOIN unnest(listed.sources) AS two (id)
        GROUP BY listed.type, one.id, two.id
    )
    SELECT one.type, s.name AS source, t.name AS other_source, one.pairs, two.pairs AS other_pairs,
           coalesce(met.shared, 0) AS shared,
           coalesce(met.shared, 0)::float8 / (one.pairs + two.pairs - coalesce(met.shared, 0)) AS jaccard
    FROM total one
    JOIN total two ON two.type = one.type
    JOIN public.relation_sources s ON s.id = one.id
    JOIN public.relation_sources t ON t.id = two.id AND t.name > s.name
    LEFT JOIN met ON (met.type, met.id, met.other_id) = (one.type, one.id, two.id)
) o
WHERE l.state = 'published';

COMMENT ON VIEW analytics.source_overlap IS 'Pairs of sources with relations of the same type, and how far they list the same ones; what is derived does not count';
COMMENT ON COLUMN analytics.source_overlap.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.source_overlap.type IS 'type of the relations';
COMMENT ON COLUMN analytics.source_overlap.source IS 'one source, first in the alphabet';
COMMENT ON COLUMN analytics.source_overlap.other_source IS 'the other source';
COMMENT ON COLUMN analytics.source_overlap.pairs IS 'pairs of words that the one lists';
COMMENT ON COLUMN analytics.source_overlap.other_pairs IS 'pairs of words that the other lists';
COMMENT ON COLUMN analytics.source_overlap.shared IS 'pairs that both list';
COMMENT ON COLUMN analytics.source_overlap.jaccard IS 'shared, of the pairs that either lists';

CREATE VIEW analytics.glosses WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, g.id AS gloss_id, g.word_id, w.text AS word, g.pos, g.text AS gloss,
       s.name AS source, s.licence
FROM public.glosses g
JOIN public.lexicons l ON l.id = g.lexicon_id AND l.state = 'published'
LEFT JOIN public.relation_sources s ON s.id = g.source_id
LEFT JOIN public.words w ON w.id = g.word_id;

COMMENT ON VIEW analytics.glosses IS 'What sources say that words mean';
COMMENT ON COLUMN analytics.glosses.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.glosses.gloss_id IS 'number of the gloss';
COMMENT ON COLUMN analytics.glosses.word_id IS 'number of the word';
COMMENT ON COLUMN analytics.glosses.word IS 'the word';
COMMENT ON COLUMN analytics.glosses.pos IS 'part of speech, where the source has it';
COMMENT ON COLUMN analytics.glosses.gloss IS 'the text';
COMMENT ON COLUMN analytics.glosses.source IS 'who says so';
COMMENT ON COLUMN analytics.glosses.licence IS 'licence of the source';

CREATE VIEW analytics.forms WITH (security_barrier) AS
SELECT l.name || '@' || l.version AS lexicon, f.form_id, a.text AS form, f.lemma_id, b.text AS lemma, f.pos,
       s.name AS source, s.licence
FROM public.forms f
JOIN public.lexicons l ON l.id = f.lexicon_id AND l.state = 'published'
LEFT JOIN public.relation_sources s ON s.id = f.source_id
LEFT JOIN public.words a ON a.id = f.form_id
LEFT JOIN public.words b ON b.id = f.lemma_id;

COMMENT ON VIEW analytics.forms IS 'Inflected forms of words: walked of walk';
COMMENT ON COLUMN analytics.forms.lexicon IS 'name@version';
COMMENT ON COLUMN analytics.forms.form_id IS 'number of the form';
COMMENT ON COLUMN analytics.forms.form IS 'the inflected form';
COMMENT ON COLUMN analytics.forms.lemma_id IS 'number of the lemma';
COMMENT ON COLUMN analytics.forms.lemma IS 'the word it is a form of';
COMMENT ON COLUMN analytics.forms.pos IS 'part of speech, where the source has it';
COMMENT ON COLUMN analytics.forms.source IS 'who lists it';
COMMENT ON COLUMN analytics.forms.licence IS 'licence of the source';

CREATE VIEW analytics.judgements WITH (security_barrier) AS
SELECT j.lexicon AS name, j.id AS judgement_id, j.verdict, j.word, j.other, j.type, j.reason, j.author, j.created_at,
       j.withdrawn_at
FROM public.judgements j
WHERE EXISTS (SELECT FROM public.lexicons l WHERE l.name = j.lexicon AND l.state = 'published');

COMMENT ON VIEW analytics.judgements IS 'What lexicographers add to a lexicon and reject of it';
COMMENT ON COLUMN analytics.judgements.name IS 'name of the lexicon, without a version: versions made later obey';
COMMENT ON COLUMN analytics.judgements.judgement_id IS 'number of the judgement';
COMMENT ON COLUMN analytics.judgements.verdict IS 'add or reject';
COMMENT ON COLUMN analytics.judgements.word IS 'one end of the relation';
COMMENT ON COLUMN analytics.judgements.other IS 'the other end';
COMMENT ON COLUMN analytics.judgements.type IS 'type of the relation';
COMMENT ON COLUMN analytics.judgements.reason IS 'why';
COMMENT ON COLUMN analytics.judgements.author IS 'who says so';
COMMENT ON COLUMN analytics.judgements.created_at IS 'when it was said';
COMMENT ON COLUMN analytics.judgements.withdrawn_at IS 'when it was withdrawn; empty while it is in force';

CREATE VIEW analytics.words WITH (security_barrier) AS
SELECT d.name || '@' || d.version AS dictionary, dw.word_id, w.text AS word, w.language, dw.token_ids,
       cardinality(dw.token_ids) AS token_count, dw.first_sense, dw.sense_count,
       cardinality(dw.token_ids) > 1 AND dw.sense_count > 0 AS composed, dw.reason
FROM public.dictionary_words dw
JOIN public.dictionaries d ON d.id = dw.dictionary_id AND d.state = 'published'
LEFT JOIN public.words w ON w.id = dw.word_id;

COMMENT ON VIEW analytics.words IS 'Words of the lexicon as a dictionary has them: their tokens and the number of their senses';
COMMENT ON COLUMN analytics.words.dictionary IS 'name@version';
COMMENT ON COLUMN analytics.words.word_id IS 'number of the word';
COMMENT ON COLUMN analytics.words.word IS 'the word';
COMMENT ON COLUMN analytics.words.language IS 'its language';
COMMENT ON COLUMN analytics.words.token_ids IS 'its tokens, in order';
COMMENT ON COLUMN analytics.words.token_count IS 'how many tokens';
COMMENT ON COLUMN analytics.words.first_sense IS 'sense_id of its first sense; the others follow';
COMMENT ON COLUMN analytics.words.sense_count IS 'how many senses; a word of one token has that token''s';
COMMENT ON COLUMN analytics.words.composed IS 'whether its senses are composed of its tokens''';
COMMENT ON COLUMN analytics.words.reason IS 'why it has no senses';

CREATE VIEW analytics.senses WITH (security_barrier) AS
SELECT d.name || '@' || d.version AS dictionary, s.sense_id,
       CASE WHEN s.word_id IS NULL THEN 'token' ELSE 'word' END AS owner, s.token_id, s.word_id,
       coalesce(w.text, t.text) AS text, s.ordinal, s.count, s.inertia, s.vector
FROM public.senses s
JOIN public.dictionaries d ON d.id = s.dictionary_id AND d.state = 'published'
LEFT JOIN public.tokens t ON t.dictionary_id = s.dictionary_id AND t.token_id = s.token_id
LEFT JOIN public.words w ON w.id = s.word_id;

COMMENT ON VIEW analytics.senses IS 'Senses with their owner: a token, or a word composed of several';
COMMENT ON COLUMN analytics.senses.dictionary IS 'name@version';
COMMENT ON COLUMN analytics.senses.sense_id IS 'number of the sense, dense inside a dictionary';
COMMENT ON COLUMN analytics.senses.owner IS 'token or word';
COMMENT ON COLUMN analytics.senses.token_id IS 'the token, where one owns it';
COMMENT ON COLUMN analytics.senses.word_id IS 'number of the word, where one owns it';
COMMENT ON COLUMN analytics.senses.text IS 'the token or word; a token with its leading space';
COMMENT ON COLUMN analytics.senses.ordinal IS 'place among its owner''s senses, the commonest first';
COMMENT ON COLUMN analytics.senses.count IS 'uses that it was clustered from; 0 where it is composed';
COMMENT ON COLUMN analytics.senses.inertia IS 'mean squared distance of those uses to it, by dimension';
COMMENT ON COLUMN analytics.senses.vector IS 'its vector, in half precision';

-- One grouping of tokens, their words and their relations, not a join of three counts: how many rows each has is hard to
-- foresee, and a planner that foresees few joins them by nested loops.
CREATE VIEW analytics.coverage WITH (security_barrier) AS
SELECT d.name || '@' || d.version AS dictionary, c.token_id, c.token, c.occurrences, c.sense_count > 0 AS covered,
       c.sense_count, c.words, w.text AS word, c.relations, c.neighbours, c.synonyms, c.antonyms, c.others
FROM public.dictionaries d
CROSS JOIN LATERAL (
    SELECT part.token_id, max(part.text) AS token, max(part.occurrences) AS occurrences,
           max(part.sense_count) AS sense_count, max(part.words) AS words, max(part.head_id) AS head_id,
           max(part.relations) AS relations, max(part.neighbours) AS neighbours, max(part.synonyms) AS synonyms,
           max(part.antonyms) AS antonyms, max(part.others) AS others
    FROM (
        SELECT t.token_id, t.text, t.occurrences, t.sense_count, 0::int8 AS words, NULL::int8 AS head_id,
               0::int8 AS relations, 0::int8 AS neighbours, 0::int8 AS synonyms, 0::int8 AS antonyms, 0::int8 AS others
        FROM public.tokens t
        WHERE t.dictionary_id = d.id
        UNION ALL
        SELECT token.id, NULL, NULL, NULL, count(DISTINCT dw.word_id), NULL, NULL, NULL, NULL, NULL, NULL
        FROM public.dictionary_words dw CROSS JOIN unnest(dw.token_ids) AS token (id)
        WHERE dw.dictionary_id = d.id
        GROUP BY token.id
        UNION ALL
        SELECT pair.token_id, NULL, NULL, NULL, NULL, min(pair.word_id), sum(pair.relations)::int8, count(*),
               count(*) FILTER (WHERE pair.synonym), count(*) FILTER (WHERE pair.antonym),
               count(*) FILTER (WHERE pair.another)
        FROM (
            SELECT dw.token_ids[1] AS token_id, dw.word_id, count(*) AS relations,
                   bool_or(e.type = 'synonym') AS synonym, bool_or(e.type IN ('antonym', 'negation')) AS antonym,
                   bool_or(e.type NOT IN ('synonym', 'antonym', 'negation')) AS another
            FROM public.dictionary_words dw
            JOIN (
                SELECT r.word_id, r.other_id, r.type FROM public.relations r WHERE r.lexicon_id = d.lexicon_id
                UNION ALL
                SELECT r.other_id, r.word_id, r.type FROM public.relations r
                WHERE r.lexicon_id = d.lexicon_id AND NOT r.directed
            ) e ON e.word_id = dw.word_id
            WHERE dw.dictionary_id = d.id AND cardinality(dw.token_ids) = 1
            GROUP BY dw.token_ids[1], dw.word_id, e.other_id
        ) pair
        GROUP BY pair.token_id
    ) part
    GROUP BY part.token_id
) c
LEFT JOIN public.words w ON w.id = c.head_id
WHERE d.state = 'published';

COMMENT ON VIEW analytics.coverage IS 'Tokens of the teacher: which have senses, stand in words, and have relations as a word of their own';
COMMENT ON COLUMN analytics.coverage.dictionary IS 'name@version';
COMMENT ON COLUMN analytics.coverage.token_id IS 'the token, as the tokenizer numbers it';
COMMENT ON COLUMN analytics.coverage.token IS 'its text, with its leading space';
COMMENT ON COLUMN analytics.coverage.occurrences IS 'how often the corpus has it';
COMMENT ON COLUMN analytics.coverage.covered IS 'whether it has senses';
COMMENT ON COLUMN analytics.coverage.sense_count IS 'how many senses';
COMMENT ON COLUMN analytics.coverage.words IS 'words of the lexicon that it stands in';
COMMENT ON COLUMN analytics.coverage.word IS 'the word that it spells alone, where that stands in a relation';
COMMENT ON COLUMN analytics.coverage.relations IS 'relations of that word; of directed ones, those that run from it';
COMMENT ON COLUMN analytics.coverage.neighbours IS 'words at the other ends of those, each once';
COMMENT ON COLUMN analytics.coverage.synonyms IS 'neighbours by synonymy, pairs in conflict too';
COMMENT ON COLUMN analytics.coverage.antonyms IS 'neighbours by antonymy or negation, pairs in conflict too';
COMMENT ON COLUMN analytics.coverage.others IS 'neighbours by relations of other types';

-- Sub-selects, not joins: a query that leaves a column out, or asks for a word, does not pay for the rest.
CREATE VIEW analytics.polysemy WITH (security_barrier) AS
SELECT d.name || '@' || d.version AS dictionary, dw.word_id, w.text AS word, cardinality(dw.token_ids) AS token_count,
       dw.sense_count,
       (SELECT count(*) FROM public.glosses g WHERE g.lexicon_id = d.lexicon_id AND g.word_id = dw.word_id) AS glosses,
       (SELECT nullif(sum(s.count), 0)::int8 FROM public.senses s
        WHERE s.dictionary_id = dw.dictionary_id AND s.sense_id >= dw.first_sense
          AND s.sense_id < dw.first_sense + dw.sense_count) AS uses,
       (SELECT max(s.count)::float8 / nullif(sum(s.count), 0)::float8 FROM public.senses s
        WHERE s.dictionary_id = dw.dictionary_id AND s.sense_id >= dw.first_sense
          AND s.sense_id < dw.first_sense + dw.sense_count) AS largest_share,
       (SELECT sum(s.inertia * s.count) / nullif(sum(s.count), 0)::float8 FROM public.senses s
        WHERE s.dictionary_id = dw.dictionary_id AND s.sense_id >= dw.first_sense
          AND s.sense_id < dw.first_sense + dw.sense_count) AS inertia,
       (SELECT avg((s.vector <-> middle.vector) ^ 2) / d.dim
        FROM public.senses s
        CROSS JOIN (
            SELECT avg(m.vector) AS vector FROM public.senses m
            WHERE m.dictionary_id = dw.dictionary_id AND m.sense_id >= dw.first_sense
              AND m.sense_id < dw.first_sense + dw.sense_count
        ) middle
        WHERE s.dictionary_id = dw.dictionary_id AND s.sense_id >= dw.first_sense
          AND s.sense_id < dw.first_sense + dw.sense_count) AS spread
FROM public.dictionary_words dw
JOIN public.dictionaries d ON d.id = dw.dictionary_id AND d.state = 'published'
LEFT JOIN public.words w ON w.id = dw.word_id;

COMMENT ON VIEW analytics.polysemy IS 'How many senses a word has, and how far they lie apart';
COMMENT ON COLUMN analytics.polysemy.dictionary IS 'name@version';
COMMENT ON COLUMN analytics.polysemy.word_id IS 'number of the word';
COMMENT ON COLUMN analytics.polysemy.word IS 'the word';
COMMENT ON COLUMN analytics.polysemy.token_count IS 'how many tokens';
COMMENT ON COLUMN analytics.polysemy.sense_count IS 'how many senses the dictionary has of it';
COMMENT ON COLUMN analytics.polysemy.glosses IS 'how many glosses the lexicon has of it';
COMMENT ON COLUMN analytics.polysemy.uses IS 'uses that its senses were clustered from; empty where it is composed';
COMMENT ON COLUMN analytics.polysemy.largest_share IS 'share of those that the commonest sense has';
COMMENT ON COLUMN analytics.polysemy.inertia IS 'mean squared distance of a use to its sense, by dimension';
COMMENT ON COLUMN analytics.polysemy.spread IS 'mean squared distance of a sense to the middle of the word''s senses, by dimension';
