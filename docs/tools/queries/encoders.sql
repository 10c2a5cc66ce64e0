-- the arrays of the live model's network, where it is a sequence model
SELECT name, array_to_string(shape, ' x ') AS shape, len(numbers) AS numbers
FROM encoders JOIN models USING (run_date, model_version)
WHERE state = 'live' ORDER BY name LIMIT 5
