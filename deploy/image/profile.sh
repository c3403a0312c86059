# A login shell starts with the system's PATH; this puts Coevolve's tools back in front.
PATH=/opt/coevolve/venv/bin:$PATH
export PATH
