"""GraphQL over the clinical store. https://hl7.org/fhir/R4/graphql.html

`execution` walks a query over resources, `roots` answers what stands at its top and reverse
references, `elements` checks names against the definitions, `directives` reshapes.
"""
