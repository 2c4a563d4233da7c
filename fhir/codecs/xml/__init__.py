"""FHIR XML, read into the JSON form and written from it. https://hl7.org/fhir/R4/xml.html

Both directions are driven by the element definitions and lose nothing: decimals keep their digits
and narratives their bytes.
"""

from fhir.codecs.xml.reader import MalformedXml, from_xml
from fhir.codecs.xml.writer import to_xml

__all__ = ["MalformedXml", "from_xml", "to_xml"]
