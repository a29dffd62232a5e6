@echo off
rem Installs relay from this folder, without a network: install.bat [ENVIRONMENT]
where py >nul 2>nul && goto launcher
where python >nul 2>nul && goto python
echo error: there is no Python here
echo what to do: install Python @PYTHON@, then run this again.
exit /b 2

:launcher
py -@PYTHON@ -I "%~dp0install_kit.py" %*
exit /b %errorlevel%

:python
python -I "%~dp0install_kit.py" %*
exit /b %errorlevel%
