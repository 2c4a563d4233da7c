"""SMART App Launch: clients, launches, grants, tokens. https://hl7.org/fhir/smart-app-launch/"""
