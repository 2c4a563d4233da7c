"""A payer with the CMS Prior Authorization API: Da Vinci PAS behind SMART Backend Services."""
